"""Puts the portal's own admin site in place of the stock one."""

from django.contrib.admin.apps import AdminConfig


class PortalAdminConfig(AdminConfig):
    """`django.contrib.admin` with `PortalSite` as its default site."""

    default_site = "opsportal.site.PortalSite"
