"""Real servers on loopback that play the providers: mail, Slack, Twilio, SendGrid, PagerDuty and any webhook."""
