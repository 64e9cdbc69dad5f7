"""Routes for machines, at the root and without sign-in."""

from django.urls import path

from opsportal.observability import views

urlpatterns = [
    path("metrics", views.metrics, name="metrics"),
    path("livez", views.livez, name="livez"),
    path("readyz", views.readyz, name="readyz"),
    path("health", views.health, name="health"),
]
