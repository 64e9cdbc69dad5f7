import django.core.serializers.json
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
            name='Version',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('section', models.CharField(max_length=64)),
                ('number', models.PositiveIntegerField(help_text='1 for the first change of the section.')),
                ('values', models.JSONField(encoder=django.core.serializers.json.DjangoJSONEncoder)),
                ('changes', models.JSONField(encoder=django.core.serializers.json.DjangoJSONEncoder, help_text='Field to [old, new].')),
                ('at', models.DateTimeField(default=django.utils.timezone.now)),
                ('by_label', models.CharField(max_length=200)),
                ('reason', models.TextField()),
                ('restored_from', models.PositiveIntegerField(null=True)),
                ('by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ('section', '-number'),
                'permissions': (('view_section', 'Can see the system configuration'), ('change_section', 'Can change the system configuration')),
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('section', 'number'), name='sysconfig_one_number')],
            },
        ),
    ]
