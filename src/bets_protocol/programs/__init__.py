"""What the two command-line programs share and which is neither wire nor socket.

Rules: nothing in here knows a message, a frame or a socket; everything is imported from its own module, so that a
program that only shows its help pays for nothing else:

- `loglines`: the log lines that other programs parse;
- `settings`: option > environment > file > default, and errors that name where a value stands;
- `exit_codes`: what the number that a program ends with means;
- `agency_uri`: how a certificate names an agency;
- `stopping`: SIGTERM and SIGINT as an exception;
- `first_process`: what differs for the first process of a container;
- `guard`: the click group that turns every exception into one line and an exit code;
- `output`: standard output that stays usable when its reader has left.
"""
