"""What was paid for by training and by boards, by key, so that nothing is paid for twice."""

from edgetran_host.ledger.ledger import Ledger, Paid

__all__ = ["Ledger", "Paid"]
