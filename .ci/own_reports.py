"""Print the reports of a sanitizer or of valgrind that concern cmlp's own code; exit 1 if any do.

The interpreter and its libraries leak at exit and read ahead by design; a report counts if a frame
of its stack is in ``cmlp/_core``. Usage: ``own_reports.py LOG``.
"""

import re
import sys
from pathlib import Path

# Reports are separated by empty lines; valgrind's lines begin with the process id.
text = re.sub(r"^==\d+== ?", "", Path(sys.argv[1]).read_text(errors="replace"), flags=re.M)
reports = re.split(r"\n\s*\n", text)
own = [report for report in reports if "cmlp/_core" in report]
own = [report for report in own if re.search(r"^\s*(#\d|at 0x|by 0x)", report, flags=re.M)]
print(f"{len(reports)} blocks, {len(own)} of cmlp's own")
print("\n\n".join(own))
sys.exit(1 if own else 0)
