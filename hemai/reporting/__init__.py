"""The report of an evaluation: what is told, and how it is laid out."""

from hemai.reporting.blocks import Photo, Picture, Section, Table, write_report
from hemai.reporting.model_card import write_model_card
from hemai.reporting.tell import tell

__all__ = ["Photo", "Picture", "Section", "Table", "tell", "write_model_card", "write_report"]
