"""`glm-gguf doctor`: what this machine has, what is missing, and the commands that mend it."""

from __future__ import annotations

import json
import sys

import click

from glm_gguf.cli.printable import print_line, show

PROBLEM_EXIT = 3


@click.command(name="doctor")
@click.option("--offline", is_flag=True, help="Do not ask the hubs whether they answer.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object, sizes in bytes.")
def command(offline: bool, as_json: bool) -> None:
    """Show what this machine has for glm-gguf, what is missing, and the command that mends it.

    A self-test converts the bundled tiny model and asks it the demo's first question. The report holds no name of a
    user or a machine, no home directory and no key: it can be pasted into a bug report. The exit code is 3 where
    something does not work.
    """
    from glm_gguf.doctor.report import DoctorReport, lines

    if not as_json and sys.stderr.isatty():
        click.secho("looking around, for some seconds …", dim=True, err=True)
    report = DoctorReport.make(offline=offline)
    if as_json:
        show(json.dumps(report.as_json(), ensure_ascii=False, indent=2))
    else:
        for line in lines(report):
            print_line(line)
    sys.exit(PROBLEM_EXIT if report.has_problem else 0)
