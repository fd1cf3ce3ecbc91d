//! Whether the schema still is what this program relies on, whatever others have done to it.
//!
//! It is compared with the one that the migrations make. What others add is theirs: columns, tables, views, indexes. But a SQL
//! trigger on our tables takes part in every write of ours.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::statements;

/// A schema, as far as it is compared.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Shape {
    /// By table and column: its kind.
    columns: BTreeMap<(String, String), String>,
    /// By kind and name: the table, and the text.
    objects: BTreeMap<(String, String), (String, String)>,
}

/// How one schema differs from the one that it should be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// What this program cannot work without.
    pub(super) fatal: Vec<String>,
    /// What changes what is promised, and may be put right.
    pub(super) odd: Vec<String>,
}

impl Shape {
    /// The one that the migrations make.
    pub(super) async fn expected(
        migrations: &sqlx::migrate::Migrator,
    ) -> Result<Self, sqlx::migrate::MigrateError> {
        let mut connection =
            SqliteConnectOptions::new().in_memory(true).disable_statement_logging().connect().await?;
        migrations.run(&mut connection).await?;
        let shape = Self::read(&mut connection).await?;
        connection.close().await?;
        Ok(shape)
    }

    pub(super) async fn read(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let mut shape = Self::default();
        for row in sqlx::query(statements::COLUMNS).fetch_all(&mut *connection).await? {
            shape.columns.insert((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?);
        }
        for row in sqlx::query(statements::OBJECTS).fetch_all(connection).await? {
            // SQLite adds quotes when somebody renames something elsewhere.
            let text = row.try_get::<String, _>(3)?.replace('"', "");
            shape.objects.insert((row.try_get(0)?, row.try_get(1)?), (row.try_get(2)?, text));
        }
        Ok(shape)
    }

    /// How this one differs from the `expected` one.
    pub(super) fn differences(&self, expected: &Self) -> Differences {
        let mut differences = Differences::default();
        for ((table, column), kind) in &expected.columns {
            let place = (table.clone(), column.clone());
            match self.columns.get(&place) {
                Some(now) if now == kind => {}
                Some(_) => differences.fatal.push(format!("column {table}.{column} has changed")),
                None => differences.fatal.push(format!("column {table}.{column} is missing")),
            }
        }
        let mut tables = BTreeSet::new();
        for (place, (table, text)) in &expected.objects {
            tables.insert(table.as_str());
            let (kind, name) = place;
            match self.objects.get(place) {
                _ if kind == "table" => {}
                Some((_, now)) if now == text => {}
                Some(_) => differences.odd.push(format!("the {} {name} has changed", called(kind))),
                None => differences.odd.push(format!("the {} {name} is missing", called(kind))),
            }
        }
        let strangers = self.objects.iter().filter(|(place, (table, _))| {
            place.0 == "trigger" && tables.contains(table.as_str()) && !expected.objects.contains_key(*place)
        });
        let strangers = strangers
            .map(|((_, name), (table, _))| format!("the SQL trigger {name} on {table} is not triggerd's"));
        differences.odd.extend(strangers);
        differences
    }
}

fn called(kind: &str) -> &str {
    if kind == "trigger" { "SQL trigger" } else { kind }
}

#[cfg(test)]
mod tests {
    use sqlx::AssertSqlSafe;

    use super::super::schema::MIGRATIONS;
    use super::*;

    /// What is found after these statements.
    async fn after(sql: &str) -> Differences {
        let expected = Shape::expected(&MIGRATIONS).await.unwrap();
        let mut connection = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
        MIGRATIONS.run(&mut connection).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        Shape::read(&mut connection).await.unwrap().differences(&expected)
    }

    #[tokio::test]
    async fn what_others_add_for_themselves_is_theirs() {
        let found = after(
            "CREATE TABLE mine (a); CREATE INDEX mine_too ON requests (correlation_id, state);
             CREATE VIEW also_mine AS SELECT id FROM requests; CREATE TRIGGER on_mine AFTER INSERT ON mine BEGIN SELECT 1; END;
             ALTER TABLE requests ADD COLUMN note TEXT; ANALYZE;
             ALTER TABLE mine RENAME TO yours; ALTER TABLE outputs RENAME TO hidden; ALTER TABLE hidden RENAME TO outputs",
        )
        .await;
        assert_eq!(found, Differences::default());
    }

    #[tokio::test]
    async fn what_is_missing_or_changed_or_meddles_is_named() {
        for (sql, fatal, odd) in [
            ("ALTER TABLE attempts DROP COLUMN status_uri", "column attempts.status_uri is missing", ""),
            ("ALTER TABLE handovers RENAME TO x", "column handovers.request_id is missing", ""),
            ("DROP INDEX requests_due", "", "the index requests_due is missing"),
            ("DROP TRIGGER requests_delete", "", "the SQL trigger requests_delete is missing"),
            ("DROP VIEW results; CREATE VIEW results AS SELECT 1", "", "the view results has changed"),
            (
                "CREATE TRIGGER theirs AFTER INSERT ON requests BEGIN SELECT 1; END",
                "",
                "the SQL trigger theirs on requests is not triggerd's",
            ),
        ] {
            let found = after(sql).await;
            assert_eq!(found.fatal.first().map_or("", String::as_str), fatal, "{sql}");
            assert_eq!(found.odd.join("; "), odd, "{sql}");
        }
    }
}
