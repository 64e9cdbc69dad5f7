"""Rules, channels, silences and what is open now. The tables that grow are made by the next migration."""

import datetime
import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.datetime
import django.db.models.functions.text
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        # The table itself is made by the next migration: Django cannot describe partitions.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name='Attempt',
                    fields=[
                        ('id', models.BigAutoField(primary_key=True, serialize=False)),
                        ('delivery_id', models.BigIntegerField()),
                        ('at', models.DateTimeField()),
                        ('number', models.SmallIntegerField()),
                        ('duration_ms', models.IntegerField()),
                        ('outcome', models.CharField(choices=[('delivered', 'delivered'), ('transient', 'transient failure'), ('permanent', 'permanent failure'), ('throttled', 'the provider asks to wait'), ('unknown', 'no answer')], max_length=12)),
                        ('status_code', models.IntegerField(null=True)),
                        ('answer', models.CharField(blank=True, default='', max_length=300)),
                        ('next_at', models.DateTimeField(null=True)),
                        ('late', models.BooleanField(default=False)),
                    ],
                    options={
                        'ordering': ('-at', '-id'),
                        'default_permissions': (),
                    },
                ),
            ],
        ),
        # The table itself is made by the next migration: Django cannot describe partitions.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name='Delivery',
                    fields=[
                        ('id', models.BigAutoField(primary_key=True, serialize=False)),
                        ('hour_bucket', models.DateTimeField()),
                        ('dedup_key', models.CharField(max_length=200)),
                        ('event_id', models.UUIDField()),
                        ('event_started_at', models.DateTimeField()),
                        ('channel_id', models.BigIntegerField()),
                        ('kind', models.CharField(max_length=12)),
                        ('recipient_hash', models.CharField(max_length=16)),
                        ('recipient_sealed', models.TextField()),
                        ('recipient_shown', models.CharField(max_length=100)),
                        ('notice', models.CharField(choices=[('firing', 'firing'), ('resolved', 'resolved'), ('test', 'test')], max_length=12)),
                        ('priority', models.SmallIntegerField(choices=[(0, 'action'), (1, 'critical'), (2, 'warning'), (3, 'info')])),
                        ('status', models.CharField(choices=[('pending', 'pending'), ('delivered', 'delivered'), ('failed', 'failed, will be tried again'), ('poison', 'poison: needs a person')], default='pending', max_length=10)),
                        ('due_at', models.DateTimeField()),
                        ('lease', models.UUIDField(null=True)),
                        ('attempts', models.SmallIntegerField(default=0)),
                        ('taken_over', models.SmallIntegerField(default=0)),
                        ('waits', models.IntegerField(default=0)),
                        ('waits_for', models.CharField(blank=True, default='', max_length=12)),
                        ('merged_into', models.BigIntegerField(null=True)),
                        ('triggered_at', models.DateTimeField()),
                        ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ('finished_at', models.DateTimeField(null=True)),
                        ('outcome', models.CharField(blank=True, default='', max_length=300)),
                        ('provider_id', models.CharField(blank=True, default='', max_length=200)),
                        ('link_used_at', models.DateTimeField(null=True)),
                        ('settled_at', models.DateTimeField(null=True)),
                        ('settled_by', models.CharField(blank=True, default='', max_length=200)),
                        ('settled_note', models.CharField(blank=True, default='', max_length=1000)),
                    ],
                    options={
                        'ordering': ('-id',),
                        'permissions': [('retry_delivery', 'Can retry deliveries'), ('resolve_delivery', 'Can resolve poisoned deliveries')],
                        'default_permissions': ('view',),
                    },
                ),
            ],
        ),
        # The table itself is made by the next migration: Django cannot describe partitions.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name='Event',
                    fields=[
                        ('id', models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                        ('started_at', models.DateTimeField()),
                        ('rule_id', models.BigIntegerField(null=True)),
                        ('rule_name', models.CharField(max_length=100)),
                        ('severity', models.SmallIntegerField(choices=[(0, 'critical'), (1, 'warning'), (2, 'info')])),
                        ('state', models.CharField(choices=[('pending', 'pending'), ('firing', 'firing'), ('acknowledged', 'acknowledged'), ('resolved', 'resolved')], max_length=12)),
                        ('origin', models.CharField(choices=[('observation', 'observation'), ('direct', 'direct trigger'), ('prometheus', 'Prometheus'), ('alertmanager', 'Alertmanager'), ('grafana', 'Grafana'), ('portal', 'the portal itself'), ('test', 'a test')], max_length=12)),
                        ('alert_id', models.CharField(max_length=100)),
                        ('metric', models.CharField(max_length=40)),
                        ('labels', models.JSONField(default=dict)),
                        ('fingerprint', models.CharField(max_length=32)),
                        ('comparison', models.CharField(choices=[('gt', '>'), ('gte', '≥'), ('lt', '<'), ('lte', '≤'), ('eq', '=')], max_length=3)),
                        ('threshold', models.FloatField()),
                        ('value', models.FloatField(null=True)),
                        ('summary', models.CharField(max_length=300)),
                        ('annotations', models.JSONField(default=dict)),
                        ('owner', models.CharField(blank=True, default='', max_length=100)),
                        ('runbook_url', models.CharField(blank=True, default='', max_length=500)),
                        ('generator_url', models.CharField(blank=True, default='', max_length=500)),
                        ('triggered_at', models.DateTimeField(null=True)),
                        ('muted_by', models.CharField(blank=True, default='', max_length=120)),
                        ('notified_at', models.DateTimeField(null=True)),
                        ('acknowledged_at', models.DateTimeField(null=True)),
                        ('acknowledged_by', models.CharField(blank=True, default='', max_length=200)),
                        ('acknowledgment_note', models.CharField(blank=True, default='', max_length=1000)),
                        ('resolved_at', models.DateTimeField(null=True)),
                        ('resolved_by', models.CharField(blank=True, default='', max_length=200)),
                    ],
                    options={
                        'ordering': ('-started_at', '-id'),
                        'permissions': [('acknowledge_event', 'Can acknowledge and resolve alerts')],
                        'default_permissions': ('view',),
                    },
                ),
            ],
        ),
        migrations.CreateModel(
            name='Channel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('kind', models.CharField(max_length=12)),
                ('sealed', models.TextField(editable=False)),
                ('shown', models.JSONField(default=dict, editable=False)),
                ('enabled', models.BooleanField(default=True)),
                ('version', models.PositiveIntegerField(default=1, editable=False)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('changed_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
            options={
                'ordering': ('name',),
                'permissions': [('test_channel', 'Can send a test notification')],
                'constraints': [models.UniqueConstraint(django.db.models.functions.text.Lower('name'), name='alerting_channel_name')],
            },
        ),
        migrations.CreateModel(
            name='Episode',
            fields=[
                ('key', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('event_id', models.UUIDField(unique=True)),
                ('event_started_at', models.DateTimeField()),
                ('rule_id', models.BigIntegerField(null=True)),
                ('firing', models.BooleanField(default=False)),
                ('due_at', models.DateTimeField(null=True)),
                ('expires_at', models.DateTimeField(null=True)),
                ('muted', models.BooleanField(default=False)),
            ],
            options={
                'default_permissions': (),
                'indexes': [models.Index(fields=['rule_id'], name='alerting_episode_rule'), models.Index(condition=models.Q(('firing', False)), fields=['due_at'], name='alerting_episode_due'), models.Index(condition=models.Q(('expires_at__isnull', False)), fields=['expires_at'], name='alerting_episode_expires'), models.Index(condition=models.Q(('muted', True)), fields=['muted'], name='alerting_episode_muted')],
            },
        ),
        migrations.CreateModel(
            name='Gate',
            fields=[
                ('id', models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('closed', models.BooleanField(default=False)),
                ('since', models.DateTimeField(null=True)),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='alerting_gate_one_row')],
            },
        ),
        migrations.CreateModel(
            name='Revision',
            fields=[
                ('id', models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('number', models.BigIntegerField(default=1)),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='alerting_revision_one_row')],
            },
        ),
        migrations.CreateModel(
            name='Rule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('description', models.CharField(blank=True, default='', max_length=500)),
                ('metric', models.CharField(max_length=40)),
                ('comparison', models.CharField(choices=[('gt', '>'), ('gte', '≥'), ('lt', '<'), ('lte', '≤'), ('eq', '=')], max_length=3)),
                ('threshold', models.FloatField()),
                ('severity', models.SmallIntegerField(choices=[(0, 'critical'), (1, 'warning'), (2, 'info')], default=1)),
                ('for_seconds', models.PositiveIntegerField(default=0)),
                ('labels', models.JSONField(blank=True, default=dict)),
                ('enabled', models.BooleanField(default=True)),
                ('notify_resolved', models.BooleanField(default=True)),
                ('trips_breaker', models.BooleanField(default=False)),
                ('owner', models.CharField(blank=True, default='', max_length=100)),
                ('runbook_url', models.CharField(blank=True, default='', max_length=500)),
                ('version', models.PositiveIntegerField(default=1, editable=False)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('changed_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('channels', models.ManyToManyField(blank=True, related_name='rules', to='alerting.channel')),
            ],
            options={
                'ordering': ('name',),
                'permissions': [('arm_rule', 'Can give a rule the trip action')],
            },
        ),
        migrations.CreateModel(
            name='Series',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('metric', models.CharField(max_length=40)),
                ('labels', models.JSONField(default=dict)),
                ('fingerprint', models.CharField(max_length=32)),
                ('last_at', models.DateTimeField(null=True)),
                ('last_value', models.FloatField(null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('metric', 'fingerprint'), name='alerting_series_once')],
            },
        ),
        migrations.CreateModel(
            name='Silence',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('service', models.CharField(blank=True, default='', max_length=100)),
                ('labels', models.JSONField(blank=True, default=dict)),
                ('reason', models.CharField(max_length=300)),
                ('created_by', models.CharField(editable=False, max_length=200)),
                ('starts_at', models.DateTimeField(verbose_name='from')),
                ('ends_at', models.DateTimeField(verbose_name='until')),
                ('ended_at', models.DateTimeField(editable=False, null=True)),
                ('ended_by', models.CharField(blank=True, default='', editable=False, max_length=200)),
                ('suppressed', models.PositiveIntegerField(default=0, editable=False)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('rule', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='silences', to='alerting.rule')),
            ],
            options={
                'ordering': ('-starts_at', '-id'),
            },
        ),
        migrations.AddConstraint(
            model_name='rule',
            constraint=models.UniqueConstraint(django.db.models.functions.text.Lower('name'), name='alerting_rule_name'),
        ),
        migrations.AddConstraint(
            model_name='rule',
            constraint=models.CheckConstraint(condition=models.Q(('severity__range', (0, 2))), name='alerting_rule_severity'),
        ),
        migrations.AddConstraint(
            model_name='rule',
            constraint=models.CheckConstraint(condition=models.Q(('comparison__in', ['gt', 'gte', 'lt', 'lte', 'eq'])), name='alerting_rule_comparison'),
        ),
        migrations.AddIndex(
            model_name='silence',
            index=models.Index(fields=['ends_at'], name='alerting_silence_ends'),
        ),
        migrations.AddConstraint(
            model_name='silence',
            constraint=models.CheckConstraint(condition=models.Q(('ends_at__gt', models.F('starts_at'))), name='alerting_silence_has_length'),
        ),
        migrations.AddConstraint(
            model_name='silence',
            constraint=models.CheckConstraint(condition=models.Q(('ends_at__lte', django.db.models.expressions.CombinedExpression(models.F('starts_at'), '+', models.Value(datetime.timedelta(days=7))))), name='alerting_silence_at_most_7_days'),
        ),
    ]
