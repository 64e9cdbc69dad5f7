"""The demo's one page; `opsportal.urls` takes it in where ENVIRONMENT names a development environment."""

from django.urls import path

from opsportal.demo import pages

urlpatterns = [
    path("inbox/", pages.page, name="demo_inbox"),
    path("inbox/fragment/", pages.fragment, name="demo_inbox_fragment"),
]
