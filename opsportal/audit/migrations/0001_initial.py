
import django.core.serializers.json
import django.db.models.deletion
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('contenttypes', '0002_remove_content_type_name'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Link',
            fields=[
                ('seq', models.BigIntegerField(primary_key=True, serialize=False)),
                ('entry_id', models.BigIntegerField(unique=True)),
                ('entry_at', models.DateTimeField()),
                ('hash', models.BinaryField(max_length=32)),
            ],
            options={
                'db_table': 'audit_link',
                'default_permissions': (),
            },
        ),
        # The table itself is made by the next migration: Django cannot describe partitions.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name='Entry',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('serialized_data', models.JSONField(null=True)),
                        ('changes_text', models.TextField(blank=True, verbose_name='change message')),
                        ('changes', models.JSONField(null=True, verbose_name='change message')),
                        ('remote_addr', models.GenericIPAddressField(blank=True, null=True, verbose_name='remote address')),
                        ('remote_port', models.PositiveIntegerField(blank=True, null=True, verbose_name='remote port')),
                        ('additional_data', models.JSONField(blank=True, encoder=django.core.serializers.json.DjangoJSONEncoder, null=True)),
                        ('actor_email', models.CharField(blank=True, max_length=254, null=True, verbose_name='actor email')),
                        ('object_pk', models.CharField(blank=True, default='', max_length=255)),
                        ('object_id', models.BigIntegerField(blank=True, null=True)),
                        ('object_repr', models.TextField(blank=True, default='')),
                        ('action', models.PositiveSmallIntegerField(choices=[(0, 'create'), (1, 'update'), (2, 'delete'), (3, 'access')], default=3)),
                        ('cid', models.CharField(blank=True, max_length=255, null=True)),
                        ('timestamp', models.DateTimeField(default=django.utils.timezone.now)),
                        ('event_id', models.UUIDField(default=uuid.uuid4)),
                        ('event', models.CharField(max_length=64)),
                        ('event_type', models.CharField(choices=[('admin', 'Admin'), ('auth', 'Auth'), ('action', 'Action'), ('access', 'Access'), ('export', 'Export')], default='admin', max_length=16)),
                        ('outcome', models.CharField(choices=[('success', 'Success'), ('denied', 'Denied'), ('failed', 'Failed')], default='success', max_length=16)),
                        ('actor_label', models.CharField(blank=True, default='', max_length=200)),
                        ('source', models.CharField(blank=True, default='', max_length=16)),
                        ('resource_type', models.CharField(blank=True, default='', max_length=64)),
                        ('resource_id', models.CharField(blank=True, default='', max_length=255)),
                        ('reason', models.TextField(blank=True, default='')),
                        ('actor', models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
                        ('content_type', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='contenttypes.contenttype')),
                    ],
                    options={
                        'verbose_name': 'audit entry',
                        'verbose_name_plural': 'audit entries',
                        'db_table': 'audit_entry',
                        'ordering': ['-timestamp'],
                        'get_latest_by': 'timestamp',
                        'abstract': False,
                        'default_permissions': ('view',),
                        'indexes': [models.Index(fields=['-timestamp', '-id'], name='audit_entry_time'), models.Index(fields=['actor', '-timestamp'], name='audit_entry_actor'), models.Index(fields=['event', '-timestamp'], name='audit_entry_event'), models.Index(fields=['resource_type', 'resource_id', '-timestamp'], name='audit_entry_resource')],
                    },
                ),
            ],
        ),
    ]
