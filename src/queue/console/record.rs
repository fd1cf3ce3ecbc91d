//! A row as it is, whatever it holds.

use sqlx::sqlite::{SqliteRow, SqliteValueRef};
use sqlx::{Column, Decode, Row, Sqlite, TypeInfo, ValueRef};

/// One value as SQLite holds it, whatever its declared type.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// NULL.
    Null,
    /// An INTEGER.
    Int(i64),
    /// A REAL.
    Real(f64),
    /// A TEXT.
    Text(String),
    /// A BLOB, or a TEXT that is not UTF-8.
    Bytes(Vec<u8>),
}

/// One row: column names and values, in the order of the statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Record(pub Vec<(String, Cell)>);

impl Record {
    /// The value of a column; NULL where there is none.
    #[must_use]
    pub fn get(&self, column: &str) -> &Cell {
        self.0.iter().find(|(name, _)| name == column).map_or(&Cell::Null, |(_, cell)| cell)
    }

    /// The integer of a column, if it is one.
    #[must_use]
    pub fn int(&self, column: &str) -> Option<i64> {
        match self.get(column) {
            Cell::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The text of a column, if it is one.
    #[must_use]
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.get(column) {
            Cell::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(in crate::queue) fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let cells = row.columns().iter().map(|column| {
            let cell = Cell::read(row.try_get_raw(column.ordinal())?).map_err(sqlx::Error::Decode)?;
            Ok((column.name().to_owned(), cell))
        });
        cells.collect::<Result<_, sqlx::Error>>().map(Self)
    }
}

impl Cell {
    fn read(value: SqliteValueRef<'_>) -> Result<Self, sqlx::error::BoxDynError> {
        if value.is_null() {
            return Ok(Self::Null);
        }
        let kind = value.type_info().name().to_owned();
        Ok(match kind.as_str() {
            "INTEGER" => Self::Int(<i64 as Decode<Sqlite>>::decode(value)?),
            "REAL" => Self::Real(<f64 as Decode<Sqlite>>::decode(value)?),
            "TEXT" => match String::from_utf8(<Vec<u8> as Decode<Sqlite>>::decode(value)?) {
                Ok(text) => Self::Text(text),
                Err(error) => Self::Bytes(error.into_bytes()),
            },
            _ => Self::Bytes(<Vec<u8> as Decode<Sqlite>>::decode(value)?),
        })
    }
}
