//! The pages of docs/ are followed step by step by someone who knows nothing else: bash, the real walferry, a real S3
//! server.
#![cfg(feature = "native")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use support::s3::{S3, free_port};
use support::{Process, project, walferry};

/// A fenced block that is marked.
enum Step {
    /// `<!-- run … -->`: the user types this.
    Run { line: usize, commands: String },
    /// `<!-- prints -->`: the step before ends by printing this.
    Prints { line: usize, expected: String },
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut mark = None;
    let mut lines = page.lines().zip(1..);
    while let Some((text, line)) = lines.next() {
        if text.starts_with("<!-- run") {
            mark = Some("run");
        } else if text.starts_with("<!-- prints") {
            mark = Some("prints");
        } else if text.starts_with("```") {
            let content: Vec<&str> = lines
                .by_ref()
                .map(|(text, _)| text)
                .take_while(|text| *text != "```")
                .collect();
            let content = content.join("\n") + "\n";
            match mark.take() {
                Some("run") => steps.push(Step::Run {
                    line,
                    commands: content,
                }),
                Some(_) => steps.push(Step::Prints {
                    line,
                    expected: content,
                }),
                None => {}
            }
        } else if !text.is_empty() {
            assert!(mark.is_none(), "line {line}: a mark without its block");
        }
    }
    steps
}

/// One script of all steps, each with its output in a file of its own.
fn script(steps: &[Step]) -> String {
    let mut script = String::from("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n");
    for (number, step) in steps.iter().enumerate() {
        if let Step::Run { line, commands } = step {
            let background = commands.trim_end().ends_with('&');
            let _ = writeln!(script, "echo 'line {line}' > \"$OUT/at\"");
            // In braces, not in a subshell: what a step sets or enters, stays.
            let output = if background { "background" } else { "output" };
            let _ = writeln!(
                script,
                "{{\n{commands}}} > \"$OUT/{number}.{output}\" 2> \"$OUT/{number}.errors\""
            );
        }
    }
    script
}

/// Follows a page in an empty folder with an empty bucket.
fn follow(page: &str) {
    let text = fs::read_to_string(project().join("docs").join(page)).unwrap();
    let steps = steps(&text);
    assert!(steps.len() >= 4, "{page} has {} steps", steps.len());
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3::start(&folder.path().join("s3"));
    let (home, out) = (folder.path().join("home"), folder.path().join("out"));
    fs::create_dir(&home).unwrap();
    fs::create_dir(&out).unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_walferry")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("bash");
    support::s3::authorize(&mut command);
    command
        .arg("-c")
        .arg(script(&steps))
        .current_dir(&home)
        .env("HOME", &home)
        .env("OUT", &out)
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("BUCKET", S3::BUCKET)
        .env("AWS_ENDPOINT_URL", s3.endpoint())
        .env("METRICS_PORT", free_port().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let mut process = Process::start(&mut command);
    let code = process.wait_for(Duration::from_secs(60));
    let at = fs::read_to_string(out.join("at")).unwrap_or_default();
    let told: Vec<String> = (0..steps.len())
        .filter_map(|number| fs::read_to_string(out.join(format!("{number}.errors"))).ok())
        .collect();
    assert_eq!(
        code,
        Some(0),
        "{page}: the step at {at} failed: {}",
        told.concat()
    );
    for (number, step) in steps.iter().enumerate() {
        if let Step::Prints { line, expected } = step {
            let printed = fs::read_to_string(out.join(format!("{}.output", number - 1))).unwrap();
            assert!(
                printed.ends_with(expected),
                "{page}, line {line}: printed {printed:?}, not {expected:?}"
            );
        }
    }
}

#[test]
fn get_started_can_be_followed() {
    follow("get-started.md");
}

#[test]
fn recovery_can_be_followed() {
    follow("recovery.md");
}

#[test]
fn the_drill_can_be_followed() {
    follow("drill.md");
}

/// What is made from the program is made from this one.
#[test]
fn generated_pages_are_up_to_date() {
    let run = |arguments: &[&str]| {
        let output = walferry().args(arguments).env_remove("COLUMNS").output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| line.trim_end().to_owned() + "\n")
            .collect::<String>()
    };
    let overview = run(&["--help"]);
    let mut commands = format!(
        "# Commands\n\nWhat `--help` says. Options can be written with one dash too, as Litestream's are.\n\n\
         ```text\n{overview}```\n"
    );
    let names = overview.lines().skip_while(|line| *line != "Commands:").skip(1);
    for name in names
        .map_while(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
    {
        let name = name.split(' ').next().unwrap();
        let help = run(&[name, "--help"]);
        let _ = write!(commands, "\n## walferry {name}\n\n```text\n{help}```\n");
    }
    for (page, made) in [("commands.md", commands), ("man/walferry.1", run(&["man"]))] {
        let path = project().join("docs").join(page);
        if std::env::var_os("WALFERRY_WRITE_DOCS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, made).unwrap();
        } else {
            let there = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                there == made,
                "docs/{page} is not what the program says: run\n  WALFERRY_WRITE_DOCS=1 cargo test --test docs generated"
            );
        }
    }
}

/// Every line of the comparison has a proof, and each proof is a test that runs.
#[test]
fn every_line_of_the_comparison_is_held_by_tests_that_run() {
    let text = fs::read_to_string(project().join("docs/comparison.md")).unwrap();
    let table = text.lines().filter(|line| line.starts_with('|')).skip(2);
    let rows: Vec<&str> = table.collect();
    assert!(rows.len() > 12, "{} rows", rows.len());
    for row in rows {
        let last = row.trim_end_matches(['|', ' ']).rsplit(" | ").next().unwrap();
        let proofs: Vec<&str> = last.split(", ").map(|proof| proof.trim_matches('`')).collect();
        for proof in proofs {
            let (file, name) = proof.split_once("::").unwrap_or((proof, ""));
            let source = fs::read_to_string(project().join(file))
                .unwrap_or_else(|error| panic!("{row}: {file:?}: {error}"));
            let runs = match file.rsplit_once('.') {
                // Each file of tests/ is run, by its name.
                Some((_, "rs")) => file.matches('/').count() == 1 && is_test(&source, name),
                Some((_, "mjs")) => {
                    let begins = |quote| source.contains(&format!("test({quote}{name}"));
                    file.ends_with(".test.mjs") && !name.is_empty() && (begins('\'') || begins('`'))
                }
                _ => false,
            };
            assert!(
                file.starts_with("tests/") && runs,
                "{row}: {proof} is no test that runs"
            );
        }
    }
    assert!(is_test("#[test]\nfn a() {", "a") && is_test("#[test]\n#[cfg(unix)]\nfn a() {", "a"));
    for none in [
        "fn a() {",
        "#[test]\n#[ignore]\nfn a() {",
        "#[test]\nfn b() {}\nfn a() {",
        "// #[test]\nfn a() {",
    ] {
        assert!(!is_test(none, "a"), "{none}");
    }
}

/// Whether a function of the source is a test that is not passed over.
fn is_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().collect();
    let head = format!("fn {name}() {{");
    let Some(at) = lines
        .iter()
        .position(|line| *line == head || line.starts_with(&format!("fn {name}() -> ")))
    else {
        return false;
    };
    let attributes: Vec<&&str> = lines[..at]
        .iter()
        .rev()
        .take_while(|line| line.starts_with("#["))
        .collect();
    attributes.iter().any(|attribute| ***attribute == *"#[test]")
        && !attributes.iter().any(|attribute| attribute.contains("ignore"))
}

fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages.extend(self::pages(&path));
        } else if path.extension().is_some_and(|end| end == "md") {
            pages.push(path);
        }
    }
    pages
}

/// Every link between pages leads to a page, or to a folder.
#[test]
fn links_lead_somewhere() {
    let mut all = pages(&project().join("docs"));
    all.push(project().join("README.md"));
    for page in &all {
        let text = fs::read_to_string(page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let link = link.split('#').next().unwrap();
            if link.is_empty() || link.contains("://") {
                continue;
            }
            assert!(
                page.parent().unwrap().join(link).exists(),
                "{}: {link}",
                page.display()
            );
        }
    }
}
