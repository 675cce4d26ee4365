"""`python -m moonbow.gateway --state STATE --site SITE --number N`"""

import argparse
from pathlib import Path

from .process import main

parser = argparse.ArgumentParser(prog="moonbow.gateway")
parser.add_argument("--state", type=Path, required=True)
parser.add_argument("--site", required=True)
parser.add_argument("--number", type=int, default=0)
asked = parser.parse_args()
main(asked.state, asked.site, asked.number)
