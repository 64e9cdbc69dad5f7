"""Routes of the breaker: pages under /admin/circuit/, API under /api/v1/circuit."""

from django.urls import path

from circuit import api, views

admin_urls = [
    path("circuit/", views.page, name="circuit"),
    path("circuit/fragment/", views.fragment, name="circuit_fragment"),
    path("circuit/history/fragment/", views.history_fragment, name="circuit_history_fragment"),
    path("circuit/history.csv", views.history_csv, name="circuit_history_csv"),
    path("circuit/trip/", views.trip, name="circuit_trip"),
    path("circuit/reset/", views.reset, name="circuit_reset"),
    path("circuit/restore/", views.restore, name="circuit_restore"),
]
api_urls = [
    path("circuit", api.BreakerView.as_view(), name="api_circuit"),
    path("circuit/trip", api.TripView.as_view(), name="api_circuit_trip"),
    path("circuit/reset", api.ResetView.as_view(), name="api_circuit_reset"),
]
