//! Tells the program which commit it was built from, when it was built from a checkout.
//!
//! A build without git, or outside a checkout, simply has no commit: nothing may fail here.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let git = Path::new("../.git");
    if !git.exists() {
        return;
    }
    // The reflog changes with every commit and checkout, and with nothing else.
    if git.join("logs/HEAD").exists() {
        println!("cargo:rerun-if-changed=../.git/logs/HEAD");
    }
    if let Ok(out) = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output()
        && out.status.success()
        && let Ok(commit) = String::from_utf8(out.stdout)
    {
        println!("cargo:rustc-env=EIGENLENS_COMMIT={}", commit.trim());
    }
}
