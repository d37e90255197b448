//! Node.js and the packages that `make sdks` installs below the folder of the build.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of installed packages of this name. `None`, having said so: there is no Node.js, or they are not installed.
pub fn packages(name: &str) -> Option<PathBuf> {
    let version = Command::new("node").arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        super::not_run("this needs Node.js, and there is none here");
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(name);
    if !folder.join("node_modules").is_dir() {
        let missing = format!("the packages of {name} are not installed: `make sdks` does it");
        super::not_run(&missing);
        return None;
    }
    Some(folder)
}
