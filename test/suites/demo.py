"""make demo, small: from Kafka to Kafka, and what it prints."""
import os
import re
import subprocess
import sys

from harness.pg import ROOT

# What a stranger must find in the output.
SAYS = ["GiftCertificates.Stream", "certificate.issued", "refund.pendingDetails", "issue.blocked", "pool.replenished", "internet_store", "pos",
        "stateDiagram", "kafka-relay", "kafka-ingest", "Every count matches",
        "curl -s http://127.0.0.1:", "have just answered", "GIFT-50"]


def run(only=None):
    out = subprocess.run([sys.executable, os.path.join(ROOT, "test/demo/demo.py"), "--orders", "300", "--seed", "3", "--stop"],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    missing = [text for text in SAYS if text not in out.stdout]
    folder = re.search(r"PostgreSQL (/\S+):\d+", out.stdout)
    left = folder is not None and os.path.exists(folder.group(1))
    yield "small", out.returncode == 0 and not missing and not left, f"{out.stdout}\nexit {out.returncode}, missing {missing}, left behind {left}"
