"""Numbers in claims.yaml that are computed from facts of papers.yaml: "student_size / 100"."""

import ast
import operator
import re
from math import nan

from lib.common.errors import InputError
from lib.report import papers

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def calculated(text: float | str, source: str, where: str, paper: float = nan) -> float:
    """The value of a calculation such as "student_size / 100".

    Its names are facts of papers.yaml: of `source`, or "teacher_parameters of 001" of another one;
    the name `paper` stands for `paper`, the claim's own printed value. Raises InputError, which
    begins with `where`.
    """

    def fact(match: re.Match) -> str:
        name, other = match.groups()
        return str(paper if name == "paper" else papers.fact(other or source, name))

    def value(node: ast.AST) -> float:
        match node:
            case ast.Constant(int() | float() as constant):
                return constant
            case ast.UnaryOp(ast.USub(), operand):
                return -value(operand)
            case ast.BinOp(left, kind, right) if type(kind) in OPERATORS:
                return OPERATORS[type(kind)](value(left), value(right))
            case ast.Call(ast.Name("round"), [operand, digits], []):
                return round(value(operand), int(value(digits)))
        raise InputError("may hold numbers, facts of papers.yaml, + - * / and round(…, digits)")

    try:
        # Facts first, because "… of 001" is no Python; what is left has to be arithmetic.
        numbers = re.sub(r"\b(?!round\b)([a-z]\w*)(?: of (\w+))?", fact, str(text))
        return float(value(ast.parse(numbers, mode="eval").body))
    except (InputError, SyntaxError, ZeroDivisionError) as error:
        raise InputError(f"{where}: {text!r}: {error}") from None
