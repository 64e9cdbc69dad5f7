import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('prefix', models.CharField(help_text='The fixed part and 8 characters; safe to show.', max_length=16, unique=True)),
                ('last4', models.CharField(max_length=4)),
                ('salt', models.CharField(help_text='16 random bytes as hexadecimal text.', max_length=32)),
                ('digest', models.CharField(help_text='SHA-256 of salt and key, hexadecimal.', max_length=64)),
                ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=64), size=None)),
                ('networks', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=43), default=list, help_text='Whence the key may be used; empty for anywhere.', size=None)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('created_by', models.CharField(max_length=200)),
                ('expires_at', models.DateTimeField(null=True)),
                ('pending_since', models.DateTimeField(help_text='When its successor was made.', null=True)),
                ('revoked_at', models.DateTimeField(null=True)),
                ('revoked_by', models.CharField(blank=True, default='', max_length=200)),
                ('revoke_reason', models.TextField(blank=True, default='')),
                ('last_used_at', models.DateTimeField(null=True)),
                ('last_used_ip', models.GenericIPAddressField(null=True)),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='api_keys', to=settings.AUTH_USER_MODEL)),
                ('rotated_from', models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='successor', to='apikeys.apikey')),
            ],
            options={
                'verbose_name': 'API key',
                'verbose_name_plural': 'API keys',
                'permissions': (('revoke_apikey', 'Can revoke API keys'),),
                'default_permissions': ('view', 'add'),
                'indexes': [models.Index(fields=['-created_at', '-id'], name='apikeys_newest'), models.Index(condition=models.Q(('revoked_at__isnull', True)), fields=['expires_at'], name='apikeys_expiry')],
                'constraints': [models.CheckConstraint(condition=models.Q(('prefix__regex', '^tp_live_[A-Za-z0-9]{8}$')), name='apikeys_prefix_form'), models.UniqueConstraint(condition=models.Q(('revoked_at__isnull', True)), fields=('owner', 'name'), name='apikeys_one_live_name')],
            },
        ),
    ]
