"""The portal's addresses, and one list behind no key and behind keys of three makers."""

from django.urls import path

from bench.ordinary.keyed_views import HasPackagedKeyView, KnoxView, OpenView, PortalKeyView
from opsportal.urls import handler404, handler500
from opsportal.urls import urlpatterns as portal

__all__ = ["handler404", "handler500", "urlpatterns"]

urlpatterns = [
    path("api/bench/open", OpenView.as_view()),
    path("api/bench/portal", PortalKeyView.as_view()),
    path("api/bench/packaged", HasPackagedKeyView.as_view()),
    path("api/bench/knox", KnoxView.as_view()),
    *portal,
]
