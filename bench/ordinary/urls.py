"""The portal's addresses and one more."""

from django.urls import path

from bench.ordinary.views import card
from opsportal.urls import handler404, handler500
from opsportal.urls import urlpatterns as portal

__all__ = ["handler404", "handler500", "urlpatterns"]

urlpatterns = [path("ordinary/", card, name="ordinary"), *portal]
