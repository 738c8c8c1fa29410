"""The stack's outputs, for other teams: `from contract import StackOutputs`. Standard library only."""

from contract.outputs import CONTRACT_VERSION, StackOutputs
from contract.record import ContractError

__all__ = ["CONTRACT_VERSION", "ContractError", "StackOutputs"]
