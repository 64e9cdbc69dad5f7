
import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Transition',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('trip', 'Trip'), ('reset', 'Reset'), ('init', 'Initialised'), ('restore', 'Restored'), ('quiet', 'Quiet period'), ('lost', 'State lost')], max_length=16)),
                ('from_state', models.CharField(choices=[('OPEN', 'trading'), ('TRIPPED', 'halted'), ('QUIET_PERIOD', 'cooling down'), ('UNKNOWN', 'halted: state unknown')], max_length=16)),
                ('to_state', models.CharField(choices=[('OPEN', 'trading'), ('TRIPPED', 'halted'), ('QUIET_PERIOD', 'cooling down'), ('UNKNOWN', 'halted: state unknown')], max_length=16)),
                ('reason', models.TextField(blank=True, default='')),
                ('category', models.CharField(choices=[('manual', 'Manual'), ('drawdown', 'Drawdown'), ('position_limit', 'Position limit'), ('latency', 'Latency'), ('data_stale', 'Stale data'), ('broker_errors', 'Broker errors'), ('external', 'External'), ('other', 'Other')], default='other', max_length=16)),
                ('source', models.CharField(choices=[('portal', 'Portal'), ('api', 'API'), ('cli', 'Command line'), ('rule', 'Alert rule'), ('external', 'External')], max_length=16)),
                ('actor_label', models.CharField(max_length=200)),
                ('at', models.DateTimeField()),
                ('halted_for', models.DurationField(blank=True, null=True)),
                ('actor', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ('-at', '-id'),
                'permissions': [('view_breaker', 'Can see the circuit breaker'), ('trip_breaker', 'Can trip the circuit breaker'), ('reset_breaker', 'Can reset the circuit breaker')],
                'default_permissions': (),
                'indexes': [models.Index(fields=['-at', '-id'], name='circuit_transition_time'), models.Index(fields=['kind', '-at'], name='circuit_transition_kind')],
            },
        ),
    ]
