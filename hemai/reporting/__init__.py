"""The report of an evaluation: its sections, and how they are laid out."""

from hemai.reporting.blocks import Section, Table, print_report, write_report
from hemai.reporting.model_card import write_model_card
from hemai.reporting.tell import tell

__all__ = ["Section", "Table", "print_report", "tell", "write_model_card", "write_report"]
