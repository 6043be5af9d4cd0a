//! One seed: an application, an engine, destinations with faults, and what happens between them.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use walferry::ltx::{Timestamp, Txid};
use walferry::native::clock::Clock;
use walferry::native::replicate::{Environment, Error};
use walferry::native::watch::{Hub, Wake};
use walferry::replica::Target;

use super::application::{Application, BOTH, Copy, Settings, beside};
use super::engine::{Engine, Setup, steps, within};
use super::model::{Model, Shipped};
use super::random::Random;
use super::segments::restoring::restore;
use super::store::Faulty;

/// When virtual time begins.
const EPOCH: i64 = 1_700_000_000_000;
/// By then everything must be shipped, once the destinations answer.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct World {
    _folder: TempDir,
    random: Random,
    began: Instant,
    /// How far the clock is off, in milliseconds.
    clock_off: Rc<Cell<i64>>,
    application: Application,
    stores: Vec<Rc<Faulty>>,
    setup: Setup,
    environment: Environment,
    engine: Option<Engine>,
    died: Rc<Notify>,
    model: Model,
    /// For each replica: the newest state that it is known to hold.
    confirmed: Vec<usize>,
    /// The position that each has told of.
    told: Vec<Txid>,
    /// The disk as it was at a moment, to which a power cut may take us back.
    copy: Option<Copy>,
    played: Played,
}

/// Plays a seed from its beginning to its end.
pub(crate) async fn play(seed: u64) -> Played {
    let mut world = World::new(seed);
    let rounds = 20 + world.random.below(60);
    world.start();
    for _ in 0..rounds {
        world.something_happens().await;
    }
    if !world.application.is_open() {
        world.application.open();
    }
    world.all_is_well().await;
    world.is_idle().await;
    world.played()
}

/// What a seed was made of: a simulation in which nothing happens proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Played {
    pub(crate) states: u64,
    pub(crate) segments: u64,
    pub(crate) crashes: u64,
    pub(crate) restores: u64,
    pub(crate) requests: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // In memory where there is such a thing: what is tested is not the disk.
        let memory = std::path::Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let folder = folder.expect("a temporary folder");
        let path: PathBuf = folder.path().canonicalize().expect("its path").join("app.db");
        let settings = Settings::draw(&mut random);
        let setup = Setup::draw(&mut random);
        let application = Application::create(&path, settings);
        let died = Rc::new(Notify::new());
        let stores: Vec<_> = (0..random.pick(&[1, 1, 2, 3]))
            .map(|_| Faulty::new(random.fork(), Rc::clone(&died)))
            .collect();
        let began = Instant::now();
        let clock_off = Rc::new(Cell::new(0));
        let off = Rc::clone(&clock_off);
        let clock = Clock::new(move || Timestamp(EPOCH + began.elapsed().as_millis() as i64 + off.get()));
        let mut world = Self {
            _folder: folder,
            random,
            began,
            clock_off,
            application,
            confirmed: vec![0; stores.len()],
            told: vec![Txid::ZERO; stores.len()],
            stores,
            setup,
            environment: Environment {
                hub: Hub::manual(),
                clock,
            },
            engine: None,
            died,
            model: Model::default(),
            copy: None,
            played: Played::default(),
        };
        world.look();
        world
    }

    async fn something_happens(&mut self) {
        match self.random.below(100) {
            0..50 => self.work().await,
            50..56 => self.work_in_large().await,
            56..64 => self.checkpoint().await,
            64..76 => self.wait().await,
            76..84 => self.faults(),
            84..92 => self.restart().await,
            92..94 => self.copy = Some(Copy::take(&self.application.path)),
            94 => self.set_the_clock(),
            95 => self.pressure().await,
            96 => self.all_is_well().await,
            _ => self.restore_something(),
        }
        self.engine_runs().await;
    }

    async fn work(&mut self) {
        for _ in 0..1 + self.random.below(6) {
            let wake = self.application.work(&mut self.random);
            self.look();
            self.wake(wake).await;
        }
    }

    /// The notification comes with the first frames, long before the commit.
    async fn work_in_large(&mut self) {
        let wake = self.application.begin_large(&mut self.random);
        self.wake(wake).await;
        self.pause().await;
        if self.random.once_in(6) {
            self.application.die();
            self.application.open();
        } else {
            let commit = !self.random.once_in(3);
            self.application.end(commit);
        }
        self.look();
        if self.random.once_in(2) {
            self.wake(BOTH).await;
        }
    }

    async fn checkpoint(&mut self) {
        let foreign = self.random.once_in(2);
        let wake = self.application.checkpoint(&mut self.random, foreign);
        self.look();
        self.wake(wake).await;
    }

    async fn wait(&mut self) {
        let milliseconds = match self.random.below(10) {
            0..5 => self.random.below(60),
            5..9 => self.random.below(3000),
            _ if self.random.once_in(3) => self.random.below(8 * 3_600_000),
            _ => self.random.below(600_000),
        };
        let sleeping = sleep(Duration::from_millis(milliseconds));
        tokio::pin!(sleeping);
        tokio::select! {
            () = &mut sleeping => {}
            () = self.died.notified() => self.crash().await,
        }
    }

    fn set_the_clock(&mut self) {
        self.clock_off
            .set(self.random.below(20 * 60_000) as i64 - 10 * 60_000);
        let now = self.now();
        self.model.clock_is_now(now);
    }

    /// A steady stream of small transactions, while the destinations are away or not: the WAL does not grow with it.
    async fn pressure(&mut self) {
        self.engine_runs().await;
        for store in &self.stores {
            store.dies_after(None);
        }
        let wal = beside(&self.application.path, "-wal");
        let size = || std::fs::metadata(&wal).map_or(0, |file| file.len());
        let before = size();
        for _ in 0..400 {
            self.application.small(&mut self.random);
            self.look();
            self.environment.hub.wake(&self.application.path, BOTH);
            sleep(Duration::from_millis(10)).await;
        }
        let limit = self.setup.wal_limit.max(64 * 1024);
        assert!(
            size() <= before.max(3 * limit) + 2 * limit,
            "the WAL grew from {before} to {} bytes: {:?}",
            size(),
            self.setup
        );
    }

    fn faults(&mut self) {
        let at = self.random.below(self.stores.len() as u64) as usize;
        let store = &self.stores[at];
        match self.random.below(5) {
            0 => store.go_away(Duration::from_millis(self.random.below(400_000))),
            1 => store.failing.set(self.random.pick(&[5, 30, 70])),
            2 => store.slowest.set(self.random.pick(&[0, 10, 300, 3000])),
            3 => store.dies_after(Some(self.random.below(6))),
            _ => store.heal(),
        }
    }

    /// The engine ends, in one way or the other; things happen without it; it starts again.
    async fn restart(&mut self) {
        if self.random.once_in(3) {
            self.stop().await;
        } else {
            let count = self.random.below(30);
            steps(count).await;
            self.crash().await;
        }
        for _ in 0..self.random.below(4) {
            self.happens_while_away();
            self.look();
        }
        let milliseconds = self.random.below(5000);
        sleep(Duration::from_millis(milliseconds)).await;
        self.start();
    }

    fn happens_while_away(&mut self) {
        let path = self.application.path.clone();
        let state = path.with_file_name(".app.db-walferry");
        match self.random.below(9) {
            0..3 => {
                self.application.work(&mut self.random);
            }
            3 => {
                self.application.checkpoint(&mut self.random, false);
            }
            // The last close deletes the WAL.
            4 => {
                self.application.close();
                assert!(!beside(&path, "-wal").exists(), "somebody has it open");
                self.application.open();
            }
            5 => {
                self.application.die();
                self.application.open();
            }
            6 => {
                if let Some(copy) = &self.copy {
                    self.application.die();
                    copy.put_back(&path);
                    self.application.open();
                }
            }
            7 => std::fs::remove_dir_all(state).unwrap_or_default(),
            _ => {
                // Half of a file, as after a power cut.
                let files = std::fs::read_dir(&state).into_iter().flatten().flatten();
                let files: Vec<_> = files.filter(|file| file.path().is_file()).collect();
                if !files.is_empty() {
                    let file = files[self.random.below(files.len() as u64) as usize].path();
                    let bytes = std::fs::read(&file).expect("read");
                    std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("write");
                }
            }
        }
    }

    /// Every destination answers; then everything is there soon.
    async fn all_is_well(&mut self) {
        self.engine_runs().await;
        for store in &self.stores {
            store.heal();
        }
        if self.engine.is_none() {
            self.start();
        }
        let newest = self.model.newest();
        if self.random.once_in(2) {
            let engine = self.engine.as_ref().expect("it runs");
            within(PATIENCE, "everything to be shipped", engine.sync()).await;
            self.confirmed.fill(newest);
            return self.restore_something();
        }
        let until = Instant::now() + PATIENCE;
        for at in 0..self.stores.len() {
            let mut pause = Duration::from_millis(50);
            loop {
                sleep(pause).await;
                self.engine_lives().await;
                let restored = restore(&self.stores[at].objects, Target::Latest);
                match restored {
                    Ok((pages, _)) if pages.concat() == self.model.image => break,
                    other if Instant::now() > until => {
                        let page_size = self.application.settings.page_size as usize;
                        panic!(
                            "replica {at} has not got everything: {}",
                            match other {
                                Ok((pages, at)) => format!(
                                    "it is at {at}, {}",
                                    self.model.difference(&pages.concat(), page_size)
                                ),
                                Err(error) => error.to_string(),
                            }
                        );
                    }
                    _ => pause = (pause * 2).min(Duration::from_secs(20)),
                }
            }
            self.confirmed[at] = newest;
        }
    }

    /// Nobody writes: after the last chores, no request is made.
    async fn is_idle(&mut self) {
        // With upkeep, until what is old has been deleted.
        sleep(Duration::from_secs(if self.setup.upkeep.is_some() {
            24 * 3600
        } else {
            600
        }))
        .await;
        self.restore_something();
        let requests = |world: &Self| {
            world
                .stores
                .iter()
                .map(|store| store.requests.get())
                .collect::<Vec<_>>()
        };
        let before = requests(self);
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(requests(self), before, "an idle database makes requests");
        self.engine_lives().await;
        self.stop().await;
        Application::integrity_check(&self.application.path);
    }

    /// Restores a state of a replica, as it is now, and asks whether it can be true.
    fn restore_something(&mut self) {
        for at in 0..self.stores.len() {
            let shipped: Vec<Shipped> = self.stores[at].shipped.borrow().values().copied().collect();
            let Some(&last) = shipped.last() else {
                assert_eq!(self.confirmed[at], 0, "replica {at} is empty");
                continue;
            };
            let some = shipped[self.random.below(shipped.len() as u64) as usize];
            let (target, wanted) = match self.random.below(3) {
                0 => (Target::Latest, last),
                1 => (Target::Txid(some.txid), some),
                _ => {
                    let time = Timestamp(some.timestamp.0 + self.random.below(3000) as i64);
                    let before = shipped.iter().rev().find(|shipped| shipped.timestamp <= time);
                    (Target::Time(time), *before.expect("it is there"))
                }
            };
            let in_window = self.is_kept(wanted.timestamp);
            let (pages, position) = match restore(&self.stores[at].objects, target) {
                Ok(restored) => restored,
                // It may be forgotten by now.
                Err(walferry::restore::Error::Plan(_)) if target != Target::Latest && !in_window => continue,
                Err(error) => panic!(
                    "replica {at}, {target:?} of {wanted:?}, at {:?}: {error}",
                    self.now()
                ),
            };
            self.played.restores += 1;
            if in_window || target == Target::Latest {
                assert_eq!(
                    position.txid,
                    wanted.txid,
                    "replica {at}, {target:?} at {:?}",
                    self.now()
                );
            }
            let image = pages.concat();
            let mut like = self.model.like(&image);
            let not_before = if target == Target::Latest {
                self.confirmed[at]
            } else {
                0
            };
            assert!(
                like.any(|(number, state)| number >= not_before && state.at <= wanted.timestamp),
                "replica {at}, {target:?} at {position} is no state that was committed by then"
            );
        }
    }

    fn played(&self) -> Played {
        Played {
            states: self.model.states.len() as u64,
            segments: self
                .stores
                .iter()
                .map(|store| store.shipped.borrow().len() as u64)
                .sum(),
            requests: self.stores.iter().map(|store| store.requests.get()).sum(),
            ..self.played
        }
    }

    /// Whether a state of then is promised to be restorable. The clock may have been ahead.
    fn is_kept(&self, then: Timestamp) -> bool {
        let Some(policy) = &self.setup.upkeep else {
            return true;
        };
        then.0 + policy.retention.as_millis() as i64 - 20 * 60_000 > self.now().0
    }

    fn start(&mut self) {
        let path = self.application.path.clone();
        self.engine = Some(Engine::start(&path, &self.stores, &self.setup, &self.environment));
        self.told.fill(Txid::ZERO);
    }

    async fn crash(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.crash().await;
            self.played.crashes += 1;
        }
    }

    async fn stop(&mut self) {
        let Some(engine) = self.engine.take() else { return };
        let newest = self.model.newest();
        let stopping = within(Duration::from_secs(100), "the engine to stop", engine.stop());
        let result = tokio::select! {
            result = stopping => result,
            // Where the machine dies on the way, nobody is told how it went.
            () = self.died.notified() => return steps(3).await,
        };
        match result {
            Ok(()) => self.confirmed.fill(newest),
            Err(Error::Unshipped(_)) => {}
            Err(error) => panic!("the engine stopped with: {error}"),
        }
    }

    /// If the machine has died, it is started again; whatever else ended the engine is a failure.
    async fn engine_runs(&mut self) {
        let died = tokio::select! {
            biased;
            () = self.died.notified() => true,
            () = std::future::ready(()) => false,
        };
        if died {
            self.crash().await;
        }
        if self.engine.is_none() {
            self.start();
        }
        self.engine_lives().await;
    }

    async fn engine_lives(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        tokio::select! {
            biased;
            how = engine.unexpected_end() => panic!("the engine has ended: {how}"),
            () = std::future::ready(()) => {}
        }
        for (told, replica) in self.told.iter_mut().zip(&engine.status.replicas) {
            let now = replica
                .confirmed
                .get()
                .map_or(Txid::ZERO, |position| position.txid);
            assert!(now >= *told, "{} goes back from {told} to {now}", replica.name);
            *told = now;
            let most = self.setup.queue_bytes + 2 * self.model.image.len() as u64 + 128 * 1024;
            assert!(
                replica.waiting_bytes.get() <= most,
                "{} bytes wait for {}",
                replica.waiting_bytes.get(),
                replica.name
            );
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp(EPOCH + self.began.elapsed().as_millis() as i64 + self.clock_off.get())
    }

    /// Looks at what is committed.
    fn look(&mut self) {
        let now = self.now();
        self.model.committed(self.application.image(), now);
    }

    async fn wake(&mut self, wake: Wake) {
        self.environment.hub.wake(&self.application.path, wake);
        self.pause().await;
    }

    /// Mostly a few steps of the engine, sometimes a moment.
    async fn pause(&mut self) {
        match self.random.below(4) {
            0 => {}
            1 | 2 => {
                let count = self.random.below(12);
                steps(count).await;
            }
            _ => sleep(Duration::from_millis(self.random.below(40))).await,
        }
    }
}
