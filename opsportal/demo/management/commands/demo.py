"""`manage.py demo`: provoke things in the running demo platform."""

from __future__ import annotations

from typing import Any

import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from opsportal.demo.control import ANSWER_SECONDS, NoAnswer, request
from opsportal.demo.desk import NEED_NO_SUBJECT, VERBS


class Command(BaseCommand):
    """An operator of the demo, not of the portal."""

    help = (
        "Provoke things in the running demo platform. Services: kill (SIGKILL; dead until start), start, slow, "
        "degrade, break (the contract), heal. Streams: stall, drain. Readings, for a minute: drawdown (of a strategy), "
        "latency (of a service). kill outside and start outside: the mail server and the providers that alerts go to. "
        "list shows what there is and how it is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """What to do, and to which."""
        parser.add_argument("verb", choices=VERBS)
        parser.add_argument("subject", nargs="?", default="", help="a service, a stream, a strategy, or outside")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, wait at most 5 s for the answer, print it; a refusal is one sentence and exit code 1."""
        if not settings.IS_DEVELOPMENT:
            raise CommandError("The demo is for development only; ENVIRONMENT says otherwise.")
        verb, subject = options["verb"], options["subject"]
        if verb not in NEED_NO_SUBJECT and not subject:
            raise CommandError(f"{verb} what? `manage.py demo list` shows the services and streams.")
        client = redis.Redis.from_url(settings.REDIS_URL, decode_responses=True, socket_timeout=ANSWER_SECONDS + 2)
        try:
            answer = request(client, verb, subject)
        except NoAnswer as nothing:
            raise CommandError(nothing.sentence) from None
        except redis.RedisError:
            raise CommandError("Redis does not answer, and the demo platform is spoken to through it.") from None
        finally:
            client.close()
        if not answer.ok:
            raise CommandError("\n".join(answer.lines))
        for line in answer.lines:
            self.stdout.write(line)
