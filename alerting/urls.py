"""Routes of alerting: pages under /admin/alerting/, API under /api/v1/ and /api/v2/, and the link in messages."""

from typing import Any

from django.urls import path

from alerting.api.alerts import AlertsView
from alerting.api.foreign import AlertmanagerView, GrafanaView, PrometheusView
from alerting.api.observations import ObservationsView
from alerting.pages import acknowledgement, channels, dashboard, deliveries, events, rules, silences

admin_urls = [
    path("alerting/", dashboard.page, name="alerting"),
    path("alerting/fragment/", dashboard.fragment, name="alerting_fragment"),
    path("alerting/events/", events.history, name="alerting_events"),
    path("alerting/events/acknowledge/", events.acknowledge_chosen, name="alerting_events_acknowledge"),
    path("alerting/events/<uuid:event_id>/", events.event, name="alerting_event"),
    path("alerting/events/<uuid:event_id>/acknowledge/", events.acknowledge, name="alerting_event_acknowledge"),
    path("alerting/events/<uuid:event_id>/resolve/", events.resolve, name="alerting_event_resolve"),
    path("alerting/deliveries/", deliveries.deliveries, name="alerting_deliveries"),
    path("alerting/deliveries/poison/", deliveries.poison, name="alerting_poison"),
    path("alerting/deliveries/retry/", deliveries.retry, name="alerting_deliveries_retry"),
    path("alerting/deliveries/resolve/", deliveries.resolve, name="alerting_deliveries_resolve"),
    path("alerting/deliveries/<int:number>/", deliveries.delivery, name="alerting_delivery"),
    path("alerting/rules/", rules.rules, name="alerting_rules"),
    path("alerting/rules/add/", rules.add, name="alerting_rules_add"),
    path("alerting/rules/<int:number>/", rules.rule, name="alerting_rule"),
    path("alerting/rules/<int:number>/edit/", rules.edit, name="alerting_rule_edit"),
    path("alerting/rules/<int:number>/enable/", rules.enable, name="alerting_rule_enable"),
    path("alerting/rules/<int:number>/disable/", rules.disable, name="alerting_rule_disable"),
    path("alerting/rules/<int:number>/duplicate/", rules.duplicate, name="alerting_rule_duplicate"),
    path("alerting/rules/<int:number>/delete/", rules.delete, name="alerting_rule_delete"),
    path("alerting/channels/", channels.channels, name="alerting_channels"),
    path("alerting/channels/add/", channels.add, name="alerting_channels_add"),
    path("alerting/channels/<int:number>/", channels.channel, name="alerting_channel"),
    path("alerting/channels/<int:number>/edit/", channels.edit, name="alerting_channel_edit"),
    path("alerting/channels/<int:number>/enable/", channels.enable, name="alerting_channel_enable"),
    path("alerting/channels/<int:number>/disable/", channels.disable, name="alerting_channel_disable"),
    path("alerting/channels/<int:number>/delete/", channels.delete, name="alerting_channel_delete"),
    path("alerting/channels/<int:number>/test/", channels.send_test, name="alerting_channel_test"),
    path("alerting/channels/<int:number>/tests/<uuid:event_id>/", channels.tested, name="alerting_channel_tested"),
    path(
        "alerting/channels/<int:number>/tests/<uuid:event_id>/fragment/",
        channels.tested_fragment,
        name="alerting_channel_tested_fragment",
    ),
    path("alerting/silences/", silences.silences, name="alerting_silences"),
    path("alerting/silences/<int:number>/", silences.silence, name="alerting_silence"),
    path("alerting/silences/add/", silences.add, name="alerting_silences_add"),
    path("alerting/silences/<int:number>/edit/", silences.edit, name="alerting_silence_edit"),
    path("alerting/silences/<int:number>/end/", silences.end, name="alerting_silence_end"),
]
api_urls: list[Any] = [
    path("observations", ObservationsView.as_view(), name="api_observations"),
    path("alerts", AlertsView.as_view(), name="api_alerts"),
    path("webhooks/alertmanager", AlertmanagerView.as_view(), name="api_webhook_alertmanager"),
    path("webhooks/grafana", GrafanaView.as_view(), name="api_webhook_grafana"),
]
v2_urls: list[Any] = [
    path("alerts", PrometheusView.as_view(), name="api_v2_alerts"),
]
#: Whoever got a message may open these without signing in.
public_urls: list[Any] = [
    path("ack/<str:token>/", acknowledgement.acknowledge, name="alerting_acknowledge_by_link"),
]
