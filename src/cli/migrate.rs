//! `migrate`: bring the database's schema and read models up to date, and say what was done.

use std::process::ExitCode;

use super::with_database;
use crate::config::Config;
use crate::postgres::RoleUse;
use crate::projection::rebuild;

pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    with_database(&config, |database| async move {
        let report = database.migrate().await?;
        let rebuilt = rebuild::bring_up_to_date(&database).await?;
        println!(
            "{}: schema version {}",
            database.target(),
            report.schema_version
        );
        for migration in report.applied {
            println!("applied {migration}");
        }
        if let RoleUse::LoginOnly { reason } = report.roles {
            println!("no roles of its own: {reason}");
        }
        for model in rebuilt {
            println!(
                "read model {} made from {} events",
                model.name, model.positions
            );
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}
