"""Lets SQLite return before its data are on the disk, for which tests would wait a lot.

A program that is killed loses nothing by it. Tests of power losses start Python anew, without it.
"""

import sqlite3

from sqlalchemy import Engine, event


def leave_writes_to_the_system():
    """Turn off the synchronization of all SQLite databases that this process opens."""

    @event.listens_for(Engine, "connect")
    def turn_off(connection, record):
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    @event.listens_for(Engine, "before_cursor_execute", retval=True)
    def stay_off(connection, cursor, statement, parameters, context, is_many):
        if statement == "PRAGMA synchronous = EXTRA":
            statement = "PRAGMA synchronous = OFF"
        return statement, parameters
