//! What the play stands on: a folder, the emulator, and the daemon as a process of its own, which can be killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use triggerd::emulator::Emulator;
use triggerd::emulator::settings::Settings;
use triggerd::queue::console::Producer;

use super::scene;
use crate::cli::failure::{Failure, NOT_WELL};

/// Between two looks at what may have changed.
pub(super) const LOOK: Duration = Duration::from_millis(40);

/// The folder with its files, and who works there.
pub(super) struct Stage {
    pub(super) folder: PathBuf,
    pub(super) emulator: Emulator,
    daemon: Option<Child>,
    /// The number of the last daemon that was ready.
    epoch: i64,
}

impl Stage {
    /// Makes the folder, and starts the far end.
    pub(super) async fn build() -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("triggerd-demo-").tempdir();
        // Kept: what is left there is to be looked at.
        let folder =
            folder.map_err(|error| Failure::new(NOT_WELL, format!("no temporary folder: {error}")))?.keep();
        let settings = Settings::parse("emulator.toml", scene::EMULATOR)?;
        let emulator = Emulator::start(settings).await?;
        let stage = Self { folder, emulator, daemon: None, epoch: 0 };
        let configuration = scene::CONFIGURATION
            .replace("ORIGIN", &stage.emulator.url(""))
            .replace("DATABASE", &stage.path("queue.db").display().to_string());
        stage.write("emulator.toml", scene::EMULATOR)?;
        stage.write("triggerd.toml", &configuration)?;
        Ok(stage)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.path(name);
        std::fs::write(&path, text).map_err(|error| unusable(&path, &error))
    }

    /// Starts the daemon, and waits until it is ready: since when, it says in its table.
    pub(super) async fn start_daemon(&mut self) -> Result<Producer, Failure> {
        let log = self.path("triggerd.log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log);
        let file = file.map_err(|error| unusable(&log, &error))?;
        let program = std::env::current_exe();
        let program =
            program.map_err(|error| Failure::new(NOT_WELL, format!("cannot find myself: {error}")))?;
        let mut command = Command::new(program);
        command.arg("--config").arg(self.path("triggerd.toml")).arg("run");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        // What is set for another daemon is not for this one.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"TRIGGERD_"))
        {
            command.env_remove(name);
        }
        command.env_remove("NOTIFY_SOCKET");
        let daemon = command.spawn();
        self.daemon = Some(daemon.map_err(|error| Failure::new(NOT_WELL, format!("no daemon: {error}")))?);
        self.until_ready().await
    }

    /// Takes the folder away.
    pub(super) fn remove(&self) -> Result<(), Failure> {
        std::fs::remove_dir_all(&self.folder).map_err(|error| unusable(&self.folder, &error))
    }

    /// Whether the daemon still runs.
    pub(super) fn check_daemon(&mut self) -> Result<(), Failure> {
        match self.daemon.as_mut().and_then(|daemon| daemon.try_wait().ok().flatten()) {
            Some(status) => Err(self.gone(status)),
            None => Ok(()),
        }
    }

    async fn until_ready(&mut self) -> Result<Producer, Failure> {
        let database = self.path("queue.db");
        loop {
            self.check_daemon()?;
            // The file may not be there yet, or have no tables.
            if database.exists()
                && let Ok(mut producer) = Producer::open(&database).await
                && let Ok(rows) = producer.rows(scene::READY).await
                // The row of a daemon that was killed says that it is ready.
                && let Some(epoch) = rows.first().filter(|row| row.int("ready_at").is_some()).and_then(|row| row.int("epoch"))
                && epoch > self.epoch
            {
                self.epoch = epoch;
                return Ok(producer);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn gone(&self, status: ExitStatus) -> Failure {
        let log = self.path("triggerd.log");
        let last = std::fs::read_to_string(&log).unwrap_or_default();
        let last = last.lines().last().unwrap_or_default().to_owned();
        Failure {
            code: NOT_WELL,
            lines: vec![format!("the daemon has ended ({status}); its log is {}", log.display()), last],
        }
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub(super) fn kill_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // An error is a process that is gone already.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// SIGTERM: an orderly stop.
    pub(super) async fn stop_daemon(&mut self) -> Option<ExitStatus> {
        let mut daemon = self.daemon.take()?;
        let pid = i32::try_from(daemon.id()).ok().and_then(Pid::from_raw)?;
        let _ = kill_process(pid, Signal::TERM);
        loop {
            match daemon.try_wait() {
                Ok(None) => tokio::time::sleep(LOOK).await,
                Ok(status) => return status,
                Err(_) => return None,
            }
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.kill_daemon();
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(NOT_WELL, format!("{}: {error}", path.display()))
}
