"""Every schedule by its spec name."""

PARTS: dict[str, str] = {
    "uba": "tutelage.schedules.uba:UBA",
}
