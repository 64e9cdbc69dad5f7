"""Every address of the portal."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from alerting.urls import api_urls as alerting_api_urls
from alerting.urls import public_urls as alerting_public_urls
from alerting.urls import v2_urls as alerting_v2_urls
from apikeys.urls import api_urls as apikeys_api_urls
from circuit.urls import api_urls as circuit_api_urls
from health.urls import api_urls as health_api_urls
from opsportal.site import to_overview
from sysconf.urls import api_urls as sysconfig_api_urls

api_urls = [
    *(circuit_api_urls if settings.FEATURES["circuit"] else []),
    *(health_api_urls if settings.FEATURES["health"] else []),
    *(alerting_api_urls if settings.FEATURES["alerting"] else []),
    *(apikeys_api_urls if settings.FEATURES["apikeys"] else []),
    *(sysconfig_api_urls if settings.FEATURES["sysconfig"] else []),
]

urlpatterns = [
    path("", to_overview, name="root"),
    *([path("admin/demo/", include("opsportal.demo.urls"))] if settings.IS_DEVELOPMENT else []),
    path("admin/", admin.site.urls),
    path("api/v1/", include(api_urls)),
    path("api/v2/", include(alerting_v2_urls if settings.FEATURES["alerting"] else [])),
    path("", include(alerting_public_urls if settings.FEATURES["alerting"] else [])),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("", include("opsportal.observability.urls")),
]
handler400 = "opsportal.errors.not_understood"
handler404 = "opsportal.errors.not_found"
handler500 = "opsportal.errors.failed"
