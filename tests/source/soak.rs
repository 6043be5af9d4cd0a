//! Two applications do everything SQLite offers, checkpoints of every kind among it, and a third is killed at any
//! moment, while the pin is moved in every order there is. The image taken from frames must be the file, byte for byte.

use std::process::{Child, Command};
use std::time::Duration;

use walferry::native::sqlite::{Error, Held};

use crate::application::{Application, Place, root};
use crate::follower::Follower;

fn app(arguments: &[&str]) -> Child {
    let script = root().join("tests/support/app.py");
    Command::new("python3")
        .arg(script)
        .args(arguments)
        .spawn()
        .unwrap()
}

fn run(arguments: &[&str]) {
    assert!(app(arguments).wait().unwrap().success(), "{arguments:?}");
}

/// Without a word of warning.
fn end(mut victim: Child) {
    victim.kill().unwrap();
    victim.wait().unwrap();
}

/// A small generator: the order of steps differs by seed, and is the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}

fn soak(page_size: &str, auto_vacuum: &str, seed: u64) {
    let place = Place::new();
    let database = place.database();
    let path = database.to_str().unwrap();
    run(&["create", path, page_size, auto_vacuum]);
    let mut follower = Follower::start(&database);
    let mut dice = Dice(seed);
    let mut writers = [2 * seed, 2 * seed + 1].map(|seed| app(&["write", path, &seed.to_string(), "5"]));
    let mut victim: Option<Child> = None;
    let (mut syncs, mut pages, mut locks, mut kills) = (0, 0, 0, 0);
    while writers
        .iter_mut()
        .any(|writer| writer.try_wait().unwrap().is_none())
    {
        match dice.below(20) {
            // Rarely, so that much lies in the WAL that is not held while the pin moves.
            0..=3 => {
                pages += follower.sync().len();
                syncs += 1;
            }
            4..=9 => drop(follower.source.advance(follower.held()).unwrap()),
            10..=12 => drop(follower.source.advance(Held::default()).unwrap()),
            13..=14 => drop(follower.checkpoint_passive(follower.held()).unwrap()),
            15 => drop(follower.checkpoint_passive(Held::default()).unwrap()),
            16 if follower.source.committed().unwrap().mx_frame > 200 => {
                match follower.checkpoint_locked(Duration::from_secs(2)) {
                    Ok(_) | Err(Error::Busy { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
                locks += 1;
            }
            17 if dice.below(10) == 0 => {
                match victim.take() {
                    Some(victim) => end(victim),
                    None => victim = Some(app(&["write", path, &dice.below(1000).to_string(), "60"])),
                }
                kills += 1;
            }
            _ => std::thread::sleep(Duration::from_millis(dice.below(8))),
        }
    }
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    if let Some(victim) = victim {
        end(victim);
    }
    follower.assert_complete();
    println!(
        "{page_size}: {syncs} syncs, {pages} pages, {} restarts, {locks} times locked, {kills} times started or killed, {} pages at the end",
        follower.image.restarts,
        follower.image.bytes.len() / page_size.parse::<usize>().unwrap(),
    );
    assert!(follower.image.restarts > 0 && pages > 0);
    follower.source.advance(follower.held()).unwrap();
    follower.checkpoint_passive(follower.held()).unwrap();
    follower.assert_is_file(&place);
    let mut application = Application::open(&database);
    assert_eq!(application.sql("pragma integrity_check"), [["ok"]]);
}

#[test]
fn pages_of_512() {
    soak("512", "none", 1);
}

#[test]
fn pages_of_4096() {
    soak("4096", "full", 2);
}

#[test]
fn pages_of_65536() {
    soak("65536", "incremental", 3);
}
