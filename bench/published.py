"""Peers as we measured them before Moonbow existed: shown when they are not measured now.  Other machine, other day."""

SOURCE = (
    "Peers' columns: our own earlier single runs on a 2-core AMD EPYC VM (Debian 12, no TLS, SQLite archive,"
    " 4 outstanding a pair in A, 4 messages in B): not this machine, not this run; read orders of magnitude."
)
PUBLISHED = {
    "ejabberd 23.01\n(earlier)": {
        "A.8.us": 2_930.0,
        "A.8.rate": 317.0,
        "A.200.p50": 3.8,
        "A.200.p99": 10.0,
        "B.8.us": 61.0,
        "B.8.rate": 20_500.0,
        "C.kib": 285.0,
        "C.login": 12.0,
        "D.alone": 6.1,
        "D.rate": 201.0,
        "D.cpu": 6.7,
        "E.ms": 126.0,
        "E.cpu": 156.0,
    },
    "Prosody 0.12.3\n(earlier)": {
        "A.8.us": 2_220.0,
        "A.8.rate": 275.0,
        "A.200.p50": 5.4,
        "A.200.p99": 62.0,
        "B.8.us": 308.0,
        "B.8.rate": 3_190.0,
        "C.kib": 42.0,
        "C.login": 9.5,
        "D.alone": 18.0,
        "D.rate": 64.0,
        "D.cpu": 14.0,
        "E.ms": 264.0,
        "E.cpu": 280.0,
    },
}
