"""Qt's keys and mouse; the stubs of PyQt6 take these functions for methods of an instance."""

from typing import Any

from qtpy import QtTest

QTest: Any = QtTest.QTest
