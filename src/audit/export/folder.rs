//! The folder of an export: whose it is, what an earlier run left in it, and the manifest, which comes last.
//!
//! While files are written the manifest is called [`BEGUN`], so a folder is an export or it is not. An earlier export of
//! the same history in the same format is brought up to date; any other folder that is not empty is left alone.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use credit_ledger_verify::manifest::{self, Manifest, Scope};
use serde::{Deserialize, Serialize};

use super::ExportError;
use super::lines::Format;

/// The manifest's name until all is written. It says whose history is being written, and how.
pub const BEGUN: &str = "manifest.partial.json";

/// An open folder. Nobody else writes into it while this lives.
pub struct Folder {
    path: PathBuf,
    directory: File,
    format: Format,
    asked: Begun,
    /// An earlier export is in it.
    finished: bool,
}

/// What the manifest says from the beginning.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    scope: Scope,
    format: manifest::Format,
}

impl Folder {
    /// Makes the folder, or finds in it what an earlier run of the same export left.
    ///
    /// # Errors
    /// [`ExportError::NotEmpty`] and [`ExportError::OtherExport`] where it holds something else, [`ExportError::InUse`]
    /// where another run writes, [`ExportError::Io`].
    pub fn open(path: &Path, scope: &Scope, format: Format) -> Result<Self, ExportError> {
        let failed = |source| ExportError::io(path, source);
        fs::create_dir_all(path).map_err(failed)?;
        let directory = File::open(path).map_err(failed)?;
        directory.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => ExportError::InUse(path.to_owned()),
            TryLockError::Error(error) => failed(error),
        })?;
        let mut folder = Self {
            path: path.to_owned(),
            directory,
            format,
            finished: false,
            asked: Begun {
                scope: scope.clone(),
                format: format.into(),
            },
        };
        let finished = folder.read(manifest::FILE)?;
        let there = match &finished {
            Some(_) => finished.as_deref().and_then(begun),
            None => folder.read(BEGUN)?.as_deref().and_then(begun),
        };
        match there {
            Some(there) if there == folder.asked => {}
            Some(_) => return Err(ExportError::OtherExport(path.to_owned())),
            None if folder.is_empty().map_err(failed)? => {}
            None => return Err(ExportError::NotEmpty(path.to_owned())),
        }
        folder.finished = finished.is_some();
        Ok(folder)
    }

    /// From now on this is no export, until all is written.
    ///
    /// # Errors
    /// [`ExportError::Io`]
    pub fn begin(&self) -> Result<(), ExportError> {
        if self.finished {
            self.rename(manifest::FILE, BEGUN)
        } else {
            self.write(BEGUN, &self.asked)
        }
    }

    /// Where a file is.
    pub fn file(&self, stem: &str) -> PathBuf {
        self.path.join(self.name(stem))
    }

    /// What a file is called.
    pub fn name(&self, stem: &str) -> String {
        format!("{stem}.{}", self.format.extension())
    }

    /// How files are written.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// All is written: from now on this is an export.
    ///
    /// # Errors
    /// [`ExportError::Io`]
    pub fn finish(&self, manifest: &Manifest) -> Result<(), ExportError> {
        self.write(BEGUN, manifest)?;
        self.rename(BEGUN, manifest::FILE)
    }

    /// Nothing in it but what the manifest is called while files are written.
    fn is_empty(&self) -> io::Result<bool> {
        for entry in fs::read_dir(&self.path)? {
            if entry?.file_name() != BEGUN {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read(&self, name: &str) -> Result<Option<String>, ExportError> {
        let path = self.path.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ExportError::io(&path, error)),
        }
    }

    fn write(&self, name: &str, content: &impl Serialize) -> Result<(), ExportError> {
        let path = self.path.join(name);
        let failed = |source| ExportError::io(&path, source);
        let mut file = File::create(&path).map_err(failed)?;
        serde_json::to_writer_pretty(&mut file, content).map_err(|error| failed(error.into()))?;
        file.sync_all().map_err(failed)?;
        self.directory.sync_all().map_err(failed)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), ExportError> {
        let to = self.path.join(to);
        let failed = |source| ExportError::io(&to, source);
        fs::rename(self.path.join(from), &to).map_err(failed)?;
        self.directory.sync_all().map_err(failed)
    }
}

/// What a manifest says, finished or not. What can not be read says nothing.
fn begun(manifest: &str) -> Option<Begun> {
    serde_json::from_str(manifest).ok()
}
