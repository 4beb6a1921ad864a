//! `pgset verify`: the set put to the test with a row of its own, which is removed again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::join;
use serde::Serialize;
use tokio::time::sleep;

use super::app::{App, patiently};
use super::dsn::{identity, password};
use super::status::no_such_set;
use crate::cli::{VerifyArgs, VerifyFormat};
use crate::cluster::{Cluster, Ended, Exec, SetSecret, look, tunnel};
use crate::error::{Failure, Kind, Outcome};
use crate::manifests::Names;
use crate::postgres::{Session, SqlError};
use crate::report::text::lapse;
use crate::report::{Paint, document};
use crate::set::identity::{SUPERUSER, asks_for_no_checksums};
use crate::set::observation::Answer;
use crate::set::own::Origin;
use crate::set::verify::{self, Check, Outcome as Seen};
use crate::set::{Observation, inside};

/// How often a replica is asked whether the row has arrived.
const PAUSE: Duration = Duration::from_millis(10);

/// How long to wait before a Service, or the lock, is tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// A try of the Services that takes this long is told of.
const LONG: Duration = Duration::from_secs(2);

/// `kind: Verification` of `pgset/v1`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    api_version: &'static str,
    kind: &'static str,
    name: &'a str,
    namespace: &'a str,
    passed: bool,
    took_ms: u64,
    checks: &'a [Check],
}

/// Verifies the set.
///
/// # Errors
/// There is no such set, its passwords may not be read, or a check failed.
pub async fn run(app: &App, args: VerifyArgs) -> Outcome {
    let began = Instant::now();
    let (target, cluster) = app.target().await?;
    let names = Names::new(&target.name, &target.namespace);
    let namespace = names.namespace();
    let passwords = names.passwords();
    let looks =
        async { join!(look(&cluster, namespace, names.set()), SetSecret::read(&cluster, namespace, &passwords)) };
    let (seen, secret) = patiently(&cluster, looks).await?;
    let seen = seen?;
    if seen.stateful_set.is_none() {
        return Err(no_such_set(app, &cluster, &names).await);
    }
    let secret = SetSecret::of_set(&cluster, &names, seen.stateful_set.as_ref(), secret).await?;
    let superuser = password(secret.as_ref(), "superuser", &names)?;
    app.when_interrupted(
        "interrupted: a row may be left in the schema pgset_verify of the database postgres",
        format!("the next run removes it: {}", app.command("verify", &names)),
    );
    let mut verifier = Verifier {
        app,
        cluster: &cluster,
        names: &names,
        within: args.within.get(),
        superuser,
        secret: secret.as_ref(),
        seen,
        sessions: BTreeMap::new(),
        checks: Vec::new(),
    };
    verifier.check_all().await?;
    let took_ms = milliseconds(began);
    let checks = &verifier.checks;
    let failed = checks.iter().filter(|check| check.outcome == Seen::Failed).count();
    let view = View {
        api_version: "pgset/v1",
        kind: "Verification",
        name: names.set(),
        namespace,
        passed: failed == 0,
        took_ms,
        checks,
    };
    app.ui.data(&match args.output {
        VerifyFormat::Text => text(app, checks, &names, took_ms),
        VerifyFormat::Json => document(&view, false)?,
        VerifyFormat::Junit => {
            verify::junit(&format!("pgset verify: {} in namespace {namespace}", names.set()), checks, took_ms)
        }
    })?;
    if failed == 0 {
        return Ok(());
    }
    let words = format!("{failed} of {} checks failed on {} in namespace {namespace}", checks.len(), names.set());
    Err(Failure::new(Kind::Unhealthy, words)
        .hint(format!("see what is wrong: {}", app.command("status", &names)))
        .hint(format!("wait until it is right: {}", app.command("wait", &names))))
}

fn text(app: &App, checks: &[Check], names: &Names, took_ms: u64) -> String {
    let mut text = String::new();
    for check in checks {
        let (paint, word) = match check.outcome {
            Seen::Passed => (Paint::Green, "ok  "),
            Seen::Failed => (Paint::Red, "FAIL"),
            Seen::Skipped => (Paint::Yellow, "skip"),
        };
        text.push_str(&format!(
            "{}  {:11} {} {}\n",
            app.ui.paint_data(paint, word),
            check.check,
            check.object,
            check.words
        ));
    }
    if checks.iter().all(|check| check.outcome != Seen::Failed) {
        let passed = checks.iter().filter(|check| check.outcome == Seen::Passed).count();
        let (set, namespace) = (names.set(), names.namespace());
        text.push_str(&format!("{set} in namespace {namespace} is verified: {passed} checks ({})\n", lapse(took_ms)));
    }
    text
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

struct Verifier<'a> {
    app: &'a App,
    cluster: &'a Cluster,
    names: &'a Names,
    within: Duration,
    superuser: String,
    secret: Option<&'a SetSecret>,
    seen: Observation,
    sessions: BTreeMap<String, Session>,
    checks: Vec<Check>,
}

/// Which password it is, in words.
fn whose(secret: Option<&SetSecret>, key: &str) -> String {
    match secret.and_then(|secret| secret.origin(key)) {
        None => format!("the Secret's {key}"),
        Some(Origin::Variable { name, .. }) => format!("the StatefulSet's {name}"),
        Some(Origin::Secret { secret, key }) => format!("the key {key} of Secret {secret}"),
    }
}

impl Verifier<'_> {
    async fn check_all(&mut self) -> Outcome {
        self.ask_everybody().await;
        self.checks.extend(verify::roles(&self.seen));
        let [primary] = self.seen.primaries()[..] else {
            self.checks.push(Check::skipped("replication", self.names.set(), "there is no primary to write on"));
            return Ok(());
        };
        let primary = primary.to_owned();
        let mut replicas: Vec<String> =
            (0..self.seen.wanted().unwrap_or(0)).map(|n| self.seen.member_name(n)).collect();
        replicas.retain(|member| *member != primary);
        self.checks.extend(verify::services(&self.seen, &primary, &replicas));
        self.check_checksums().await;
        self.check_replication(&primary, &replicas).await?;
        let (inside, passwords) = join!(self.inside(&primary, &replicas), self.passwords(&primary));
        self.checks.extend(inside);
        self.checks.extend(passwords?);
        Ok(())
    }

    /// A session with every wanted member, and each one's word.
    async fn ask_everybody(&mut self) {
        let members: Vec<String> = (0..self.seen.wanted().unwrap_or(0)).map(|n| self.seen.member_name(n)).collect();
        let asked = join_all(members.iter().map(async |member| {
            let session = self.log_in(member, "postgres", SUPERUSER, &self.superuser).await?;
            let server = session.probe().await?;
            Ok::<_, String>((session, server))
        }))
        .await;
        for (member, answer) in members.into_iter().zip(asked) {
            let answer = match answer {
                Ok((session, server)) => {
                    self.sessions.insert(member.clone(), session);
                    Answer::Answered(Box::new(server))
                }
                Err(reason) => Answer::Silent(reason),
            };
            self.seen.answers.insert(member, answer);
        }
    }

    async fn log_in(&self, member: &str, database: &str, user: &str, password: &str) -> Result<Session, String> {
        let stream = tunnel(self.cluster, self.names.namespace(), member).await.map_err(|failure| failure.message)?;
        Session::open_to(stream, database, user, password).await
    }

    async fn check_checksums(&mut self) {
        let set = self.seen.stateful_set.as_ref();
        for (member, session) in &self.sessions {
            self.checks.push(match session.run(verify::CHECKSUMS).await {
                Ok(Some(on)) if on == "on" => Check::passed("checksums", member, "checks its data pages"),
                Ok(_) if set.is_some_and(asks_for_no_checksums) => {
                    Check::skipped("checksums", member, "the set's own manifests ask for none: CHECKSUMS is not set")
                }
                Ok(_) => Check::failed("checksums", member, "does not check its data pages: data_checksums is off"),
                Err(error) => Check::failed("checksums", member, error.message),
            });
        }
    }

    /// A row on the primary, looked for on every replica; whatever happens, it is removed.
    async fn check_replication(&mut self, primary: &str, replicas: &[String]) -> Outcome {
        // The lock keeps others away; the time tells this row from one that was left.
        let token = format!("{:x}", self.app.started.as_nanosecond());
        let Some(session) = self.sessions.get(primary) else { return Ok(()) };
        let service = self.names.master_service();
        let began = Instant::now();
        if let Err(words) = self.prepare(session, &token).await {
            self.checks.push(Check::failed("write", primary, words));
            return Ok(());
        }
        let written = Instant::now();
        let took = milliseconds(began);
        let words = format!("takes a row, as the member {service} leads to");
        let mut checks = vec![if self.seen.endpoints(&service) == [primary] {
            Check::passed("write", primary, words).took(took)
        } else {
            Check::failed("write", primary, format!("took a row, but {service} does not lead to it")).took(took)
        }];
        let arrived = join_all(replicas.iter().map(|replica| self.look_for(replica, &token, written))).await;
        checks.extend(arrived.into_iter().flatten());
        checks.push(match session.run(verify::CLEAN_UP).await {
            Ok(_) => Check::passed("clean-up", primary, "has nothing left of this"),
            Err(error) => {
                let words = format!("failed to remove the schema {}: {}", verify::SCHEMA, error.message);
                Check::failed("clean-up", primary, words)
            }
        });
        self.checks.extend(checks);
        Ok(())
    }

    /// Takes the lock, removes what an interrupted run left, writes the row.
    async fn prepare(&self, session: &Session, token: &str) -> Result<(), String> {
        let said = |error: SqlError| error.message;
        let began = Instant::now();
        while session.run(verify::LOCK).await.map_err(said)?.as_deref() != Some("t") {
            if began.elapsed() >= self.within {
                return Err("another pgset verify is under way on this set".to_owned());
            }
            sleep(AGAIN).await;
        }
        match session.run(verify::LEFTOVER).await.map_err(said)? {
            Some(comment) if !verify::is_leftover(&comment) => {
                return Err(format!("the database postgres has a schema {} that is not pgset's", verify::SCHEMA));
            }
            Some(_) => self.app.ui.say("removing what an interrupted run left"),
            None => {}
        }
        session.run(&verify::write(token)).await.map_err(said)?;
        Ok(())
    }

    /// Looks for the row on a replica, then tries to write there.
    async fn look_for(&self, replica: &str, token: &str, written: Instant) -> Vec<Check> {
        let Some(session) = self.sessions.get(replica) else {
            return vec![Check::failed("replication", replica, "could not be asked for the row")];
        };
        let arrived = loop {
            let problem = match session.run(&verify::read(token)).await {
                Ok(Some(there)) if there == "t" => {
                    let took = milliseconds(written);
                    let words = format!("has the row after {}", lapse(took));
                    break Check::passed("replication", replica, words).took(took);
                }
                Ok(_) => "the row has not arrived".to_owned(),
                Err(error) if verify::is_not_yet(&error.code) => "the row has not arrived".to_owned(),
                Err(error) => error.message,
            };
            if written.elapsed() >= self.within {
                let took = milliseconds(written);
                break Check::failed("replication", replica, format!("{problem} after {}", lapse(took))).took(took);
            }
            sleep(PAUSE).await;
        };
        let there = arrived.outcome == Seen::Passed;
        let write = if there { verify::insert("refused") } else { verify::WRITE_ANYTHING.to_owned() };
        let refused = session.run(&write).await.err();
        let refused = refused.as_ref().map(|error| (error.code.as_str(), error.message.as_str()));
        vec![arrived, verify::judge_write(replica, refused)]
    }

    /// The Services as a member sees them: by name, over the cluster's network.
    async fn inside(&self, primary: &str, replicas: &[String]) -> Vec<Check> {
        let (master, replica) = (self.names.master_service(), self.names.replica_service());
        let mut expected = vec![(master, vec![primary.to_owned()], false)];
        if !replicas.is_empty() {
            expected.push((replica, replicas.to_vec(), true));
        }
        let services: Vec<String> = expected.iter().map(|(service, ..)| service.clone()).collect();
        // From another machine than the primary's, where there is one.
        let from = replicas.iter().find(|member| self.sessions.contains_key(*member)).map_or(primary, String::as_str);
        let began = Instant::now();
        // The endpoints are right by now, so this is how long the nodes may take to follow them.
        let within = self.within.max(inside::try_for(&self.seen));
        let mut told = false;
        loop {
            let (cluster, namespace) = (self.cluster, self.names.namespace());
            let command = verify::from_inside(&services);
            let exec = Exec { cluster, namespace, member: from, command, stdin: false, terminal: false };
            let checks = match exec.output().await {
                Ok(written) => match written.ended {
                    Ended::Code(0) => verify::judge_inside(&self.seen, from, &written.stdout, &expected),
                    Ended::Code(code) => vec![Check::failed(
                        "connection",
                        from,
                        format!("the check in it ended with {code}: {}", written.stderr.trim()),
                    )],
                    Ended::Lost(words) => vec![Check::failed("connection", from, words)],
                },
                Err(failure) if failure.is_forbidden() => {
                    return services
                        .iter()
                        .map(|service| Check::skipped("connection", service, &failure.message))
                        .collect();
                }
                Err(failure) => vec![Check::failed("connection", from, failure.message)],
            };
            let passed = checks.iter().all(|check| check.outcome == Seen::Passed);
            if passed || began.elapsed() >= within {
                return checks.into_iter().map(|check| check.took(milliseconds(began))).collect();
            }
            if !told && began.elapsed() >= LONG {
                told = true;
                let words = "the Services do not connect from inside yet; trying for up to";
                self.app.ui.say(&format!("{words} {} s", within.as_secs()));
            }
            sleep(AGAIN).await;
        }
    }

    /// The Secret's passwords are what the database knows.
    async fn passwords(&self, primary: &str) -> Outcome<Vec<Check>> {
        let set = self.seen.stateful_set.as_ref();
        let own = set.map(|set| identity(set, self.secret, self.names)).transpose()?;
        let mut users = vec![(SUPERUSER.to_owned(), "superuser", "postgres".to_owned())];
        if let Some(own) = own {
            users.push((own.user, "user", own.database));
            users.push((own.replication_user, "replication", "postgres".to_owned()));
        }
        Ok(join_all(users.iter().map(async |(user, key, database)| {
            let Some(password) = self.secret.and_then(|secret| secret.get(key)) else {
                return Check::failed("password", user, format!("there is no {}", whose(self.secret, key)));
            };
            let whose = whose(self.secret, key);
            match self.log_in(primary, database, user, password).await {
                Ok(_) => Check::passed("password", user, format!("logs in to {database} with {whose}")),
                Err(words) => Check::failed("password", user, format!("cannot log in with {whose}: {words}")),
            }
        }))
        .await)
    }
}
