"""Routes of the health monitor: pages under /admin/health/, API under /api/v1/health."""

from django.urls import path

from health import api, views

admin_urls = [
    path("health/", views.page, name="health"),
    path("health/fragment/", views.fragment, name="health_fragment"),
    path("health/services/<str:name>/", views.service, name="health_service"),
    path("health/services/<str:name>/fragment/", views.service_fragment, name="health_service_fragment"),
    path(
        "health/services/<str:name>/history/fragment/",
        views.service_history_fragment,
        name="health_service_history_fragment",
    ),
]
api_urls = [
    path("health/services", api.ServicesView.as_view(), name="api_health_services"),
    path("health/contract", api.ContractView.as_view(), name="api_health_contract"),
]
