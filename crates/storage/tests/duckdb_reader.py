"""Attaches a catalog read-only in DuckDB and prints the rows of queries, columns separated by `|`.

usage: duckdb_reader.py CATALOG QUERY...
Exits with 77 when DuckDB or its extensions are not installed
(`pip install duckdb==1.5.5 duckdb-extension-ducklake duckdb-extension-sqlite-scanner`).
"""
import glob
import importlib.util
import os
import sys

try:
    import duckdb
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)

connection = duckdb.connect()
for extension in ("sqlite_scanner", "ducklake"):
    package = importlib.util.find_spec("duckdb_extension_" + extension)
    if package is None:
        print(f"extension {extension} is not installed", file=sys.stderr)
        sys.exit(77)
    folder = os.path.dirname(package.origin)
    files = glob.glob(f"{folder}/extensions/v{duckdb.__version__}/*.duckdb_extension")
    if not files:
        print(f"extension {extension} is not there for DuckDB {duckdb.__version__}", file=sys.stderr)
        sys.exit(77)
    connection.execute(f"LOAD '{files[0]}'")
catalog = sys.argv[1].replace("'", "''")
connection.execute(f"ATTACH 'ducklake:sqlite:{catalog}' AS lake (READ_ONLY)")
for query in sys.argv[2:]:
    for row in connection.execute(query).fetchall():
        print("|".join("NULL" if value is None else str(value) for value in row))
