//! `pgset promote`: a planned switchover. What it decides is in [`crate::set::promote`]; here it is done and told.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use super::app::{App, patience};
use super::ask::{Asker, checkpoint, superuser};
use super::follow::Follower;
use super::result::{Finish, finish};
use super::state;
use super::status::no_such_set;
use crate::cli::{PromoteArgs, ResultFormat};
use crate::cluster::{Cluster, Ended, Exec, Members, Need, SetSecret, look, look_at_services, missing_rights};
use crate::error::{Failure, Kind, Outcome};
use crate::manifests::{Names, Promotion, State};
use crate::report::text::{age, and, lapse};
use crate::set::health::health;
use crate::set::promote::{self, Next, Plan, Refusal, Waiting};
use crate::set::{Finding, Observation, Severity, findings};

/// How often the members are asked while something is under way.
const PAUSE: Duration = Duration::from_millis(150);

/// How long the target may take to replay what the primary has written so far, before anything is stopped.
const CATCH_UP: Duration = Duration::from_secs(30);

/// A member that was told to become the primary and has not done so is told again.
const TELL_AGAIN: Duration = Duration::from_secs(5);

/// Positions that stay the same for so long are all that there is.
const STEADY: Duration = Duration::from_secs(2);

/// After this long it is said, once, what the switchover waits for.
const UNREMARKABLE: Duration = Duration::from_secs(15);

/// The script of a member that makes its folder a standby's and shuts its PostgreSQL down.
const STEP_DOWN: [&str; 2] = ["/bin/sh", "/pgset/config/step-down.sh"];

/// Makes a member the primary.
///
/// # Errors
/// There is no such set or member, it is refused, a step failed and everything was taken back, or the set does not become
/// healthy.
pub async fn run(app: &App, args: PromoteArgs) -> Outcome {
    let (target, cluster) = app.target().await?;
    let names = Names::new(&target.name, &target.namespace);
    let (set, namespace) = (names.set(), names.namespace());
    let mut seen = look(&cluster, namespace, set).await?;
    if seen.stateful_set.is_none() {
        return Err(no_such_set(app, &cluster, &names).await);
    }
    let refused = |refusal| refuse(app, &names, refusal);
    promote::possible(&seen).map_err(refused)?;
    let member = args.member.as_deref().map(|text| named(&seen, text)).transpose()?;
    preflight(&cluster, &names).await?;
    let secret = SetSecret::read(&cluster, namespace, &names.passwords()).await?;
    let password = superuser(secret.as_ref(), &mut seen);
    let services = look_at_services(&cluster, namespace, set).await.unwrap_or_default();
    let master = services.iter().find(|service| service.metadata.name == Some(names.master_service()));
    let led_to = promote::led_to(&names.master_service(), master).map_err(refused)?.to_owned();

    let mut switchover = Switchover {
        app,
        cluster: &cluster,
        names: &names,
        asker: Asker::new(&cluster, namespace, password),
        seen,
        timeout: patience(target.timeout),
        began: Timestamp::now(),
        led_to,
        paused: None,
        changes: Vec::new(),
        output: args.output,
    };
    let mut known = switchover.look().await?;
    if promote::compares(&switchover.seen, known.state.promotion.as_ref()) {
        switchover.measure().await;
        known = switchover.look().await?;
    }
    let plan = promote::plan(&switchover.seen, known.state.promotion.as_ref(), member.as_deref()).map_err(refused)?;
    switchover.carry_out(plan, known).await
}

/// The notes about a set, and the version of the object that they were read from.
struct Known {
    state: State,
    version: Option<String>,
}

/// The member that a person names, by its number or its name.
///
/// # Errors
/// The set has no such member.
pub fn named(seen: &Observation, text: &str) -> Outcome<String> {
    promote::member_named(seen, text).map_err(|refusal| {
        let failure = Failure::usage(&refusal);
        if seen.members().is_empty() { failure } else { failure.hint(format!("it has {}", and(&seen.members()))) }
    })
}

/// A refusal with the way on.
fn refuse(app: &App, names: &Names, refusal: Refusal) -> Failure {
    let failure = Failure::refused(&refusal);
    let command = |verb: &str| app.command(verb, names);
    match refusal {
        Refusal::Foreign { .. } => failure.hint("choose another set with --name, or another namespace with -n"),
        Refusal::Crunchy { .. } => failure
            .hint(format!("for maintenance a restart of the primary does: {}", command("restart")))
            .hint("a set of the official image can be promoted: bring one up beside it under another --name, and load a dump"),
        Refusal::Stopped { .. } => failure.hint(format!("start it: {}", command("start"))),
        Refusal::Alone { .. } => failure.hint(format!("add a replica first: {}", command("scale 2"))),
        Refusal::NoMember { .. } => failure.of(Kind::Usage),
        Refusal::Forbidden { .. } => failure
            .hint("ask whoever runs the cluster for the rights to create pods/portforward and to get the set's Secret"),
        Refusal::SeveralPrimaries { .. } | Refusal::NotHealthy { .. } | Refusal::Apart { .. } => {
            failure.hint(format!("see what is wrong: {}", command("status")))
        }
        Refusal::Several { candidates } => {
            let which = candidates.iter().map(|member| command(&format!("promote {member}")));
            which.fold(failure.of(Kind::Usage), Failure::hint)
        }
        Refusal::FarBehind { .. } => failure.hint(format!("see how it catches up: {}", command("status --watch"))),
        Refusal::Paused { member } => {
            failure.hint(format!("let it go on: {} -c 'select pg_wal_replay_resume()'", command(&psql(&member))))
        }
        Refusal::Lacks { newest, .. } => {
            failure.hint(format!("make the one with the most data the primary: {}", command(&format!("promote {newest}"))))
        }
        Refusal::Told { to } => failure.hint(format!("finish that one first: {}", command(&format!("promote {to}")))),
        Refusal::Selector { .. } => failure.hint(format!("put the Service back: {}", command("diff"))),
        Refusal::NoService { .. } => failure.hint(format!("put it back: {}", command("up"))),
    }
}

fn psql(member: &str) -> String {
    let number = member.rsplit('-').next().unwrap_or_default();
    format!("psql --replica={number} -U postgres -d postgres --")
}

/// Every right that is used on the way, before the first step.
async fn preflight(cluster: &Cluster, names: &Names) -> Outcome {
    let mut needs = vec![
        Need::new("get", "", "secrets"),
        Need::new("create", "", "pods").subresource("portforward"),
        Need::new("create", "", "pods").subresource("exec"),
        Need::new("patch", "", "pods"),
        Need::new("delete", "", "pods"),
        Need::new("list", "", "services"),
        Need::new("patch", "", "services"),
    ];
    needs.extend(["get", "create", "patch"].map(|verb| Need::new(verb, "", "configmaps")));
    for (group, resource) in
        [("apps", "statefulsets"), ("", "pods"), ("", "persistentvolumeclaims"), ("discovery.k8s.io", "endpointslices")]
    {
        needs.extend(["list", "watch"].map(|verb| Need::new(verb, group, resource)));
    }
    let missing = missing_rights(cluster, names.namespace(), &needs).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let list: String = missing.iter().map(|problem| format!("\n  - {}", problem.what)).collect();
    Err(Failure::error(format!(
        "rights are missing to promote a member of {}; nothing was changed:{list}",
        names.set()
    ))
    .hint("ask whoever runs the cluster for them"))
}

struct Switchover<'a> {
    app: &'a App,
    cluster: &'a Cluster,
    names: &'a Names,
    asker: Asker,
    seen: Observation,
    timeout: SignedDuration,
    /// When nobody was asked anything any more.
    began: Timestamp,
    /// The member that the Service for writes leads to.
    led_to: String,
    /// Since when nothing can be written.
    paused: Option<Instant>,
    changes: Vec<String>,
    output: ResultFormat,
}

impl Switchover<'_> {
    async fn carry_out(&mut self, plan: Plan, known: Known) -> Outcome {
        match plan {
            Plan::Already { primary, take_back, finish } => self.already(&primary, take_back, finish, known).await,
            Plan::Switch { from, to } => {
                self.ask(&format!(
                    "{to} becomes the primary of {}: {from} stops, which ends its sessions, and comes back as a replica; \
                     writes pause meanwhile, some seconds as a rule",
                    self.names.set()
                ))
                .await?;
                self.switch(&from, &to).await
            }
            Plan::GoOn(promotion) => {
                self.app.ui.say(&format!(
                    "a switchover from {} to {} was cut short; going on with {}",
                    promotion.from, promotion.to, promotion.to
                ));
                self.when_interrupted();
                if !self.note(&promotion, known).await? {
                    return Err(self.overtaken());
                }
                self.conclude(promotion).await
            }
            Plan::Elect { to } => {
                self.ask(&format!("no member is the primary; {to} has all the data there is, and becomes it")).await?;
                self.steady(&to).await?;
                // Nobody stepped down: whoever is promoted has all there is.
                self.conclude(Promotion { from: to.clone(), to, told: false }).await
            }
        }
    }

    /// What a person should know, and a question where nobody has agreed beforehand.
    async fn ask(&mut self, what: &str) -> Outcome {
        self.app.ui.say(what);
        if !self.app.common.yes {
            let yes = |answer: &str| answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes");
            self.app.ui.confirm("go on? [y/N]", yes, "answer beforehand: the same command with --yes").await?;
            self.began = Timestamp::now();
        }
        self.when_interrupted();
        Ok(())
    }

    fn when_interrupted(&self) {
        self.app.when_interrupted(
            "interrupted: the switchover may be half done",
            format!("go on with it: {}", self.app.command("promote", self.names)),
        );
    }

    async fn already(&mut self, primary: &str, take_back: bool, finish: bool, known: Known) -> Outcome {
        let Self { app, names, .. } = *self;
        if take_back {
            let back = [&STEP_DOWN[..], &["back"]].concat();
            self.in_member(primary, &back).await?;
            if let Some(noted) = known.state.promotion {
                self.forget(&noted).await?;
            }
            app.ui.say("took back a switchover that was cut short before anything had happened");
        }
        let again = if finish { "" } else { " already" };
        app.ui.say(&format!("{primary} is the primary of {} in namespace {}{again}", names.set(), names.namespace()));
        let led = self.lead(primary).await?;
        if led || finish || health(&self.seen).is_healthy() {
            return self.settle().await;
        }
        app.ui.hint(&format!("the set is not healthy, see why: {}", app.command("status", names)));
        Ok(())
    }

    /// From the checkpoint on.
    async fn switch(&mut self, from: &str, to: &str) -> Outcome {
        self.app.ui.say(&format!("writing a checkpoint on {from}, so that it stops quickly"));
        let left = Duration::try_from(self.left()).unwrap_or_default();
        checkpoint(self.cluster, self.names, &self.seen, from, left).await?;
        let promotion = Promotion { from: from.to_owned(), to: to.to_owned(), told: false };
        self.begin(&promotion).await?;
        self.app.ui.say(&format!("{from} steps down; writes pause"));
        self.paused = Some(Instant::now());
        // Where the connection ends with the container, PostgreSQL was quicker than the script; who is what shows then.
        if let Err(failure) = self.in_member(from, &STEP_DOWN).await {
            self.look().await?;
            if self.seen.primaries()[..] == [from] {
                self.forget(&promotion).await?;
                return Err(failure.hint(format!("nothing was switched: {from} goes on as the primary")));
            }
            // It stops all the same: somebody else may have asked it to.
            self.app.ui.detail(&format!("{:#}", failure.error));
        }
        self.changes.push(format!("{from} stepped down"));
        self.conclude(promotion).await
    }

    /// Waits until the target has replayed what the primary has written by now: the less is left, the shorter the pause. Then
    /// notes the switchover, if the primary is what it was and nobody has noted another one since it was asked.
    async fn begin(&mut self, promotion: &Promotion) -> Outcome {
        let Promotion { from, to, .. } = promotion;
        let began = Instant::now();
        let lsn = |seen: &Observation, member: &str| seen.server(member).map(|server| server.lsn).unwrap_or_default();
        self.look().await?;
        let wanted = lsn(&self.seen, from);
        loop {
            let known = self.look().await?;
            if self.seen.primaries()[..] != [from.as_str()] {
                return Err(self.overtaken());
            }
            if lsn(&self.seen, to) >= wanted && self.note(promotion, known).await? {
                return Ok(());
            }
            if began.elapsed() > CATCH_UP {
                let words = format!("{to} does not catch up with the primary {from}, so nothing was switched");
                return Err(Failure::refused(words)
                    .hint(format!("see how far behind it is: {}", self.app.command("status", self.names))));
            }
            sleep(PAUSE).await;
        }
    }

    /// Brings the replicas' control files up to what they have replayed: only so is their timeline certain. Twice, since the
    /// first may be a checkpoint like the primary's, which tells no more than that one. Who fails has told what it could.
    async fn measure(&self) {
        for (member, session) in self.asker.sessions() {
            for _ in 0..2 {
                if let Err(words) = session.checkpoint(CATCH_UP).await {
                    self.app.ui.detail(&format!("{member} answered: {words}"));
                }
            }
        }
    }

    /// Waits until no member's position moves any more and this one is among the newest still.
    async fn steady(&mut self, to: &str) -> Outcome {
        let positions = |seen: &Observation| {
            let of = |(member, answer): (&String, &crate::set::observation::Answer)| {
                Some((member.clone(), answer.server()?.timeline, answer.server()?.lsn))
            };
            seen.answers.iter().filter_map(of).collect::<Vec<_>>()
        };
        let mut before = positions(&self.seen);
        let mut since = Instant::now();
        while since.elapsed() < STEADY {
            sleep(PAUSE).await;
            let noted = self.look().await?.state.promotion;
            let now = positions(&self.seen);
            if now != before {
                (before, since) = (now, Instant::now());
            }
            match promote::plan(&self.seen, noted.as_ref(), Some(to)) {
                Ok(Plan::Elect { .. }) => {}
                Ok(_) => return Err(self.overtaken()),
                Err(refusal) => return Err(refuse(self.app, self.names, refusal)),
            }
        }
        Ok(())
    }

    /// From the moment on at which the primary was asked to step down, to the end.
    async fn conclude(&mut self, mut promotion: Promotion) -> Outcome {
        let began = promotion.clone();
        let mut taken_back: Option<Waiting> = None;
        let mut waits: Option<(Waiting, Instant)> = None;
        let mut replaced = None;
        let mut told_at: Option<Instant> = None;
        let mut remarked = false;
        let since = Instant::now();
        loop {
            // Read before the members are asked: whatever somebody else does after that shows in the version.
            let known = self.look().await?;
            if known.state.promotion.as_ref().is_some_and(|noted| noted.to != promotion.to) {
                return Err(self.overtaken());
            }
            match promote::next(&self.seen, &promotion) {
                Next::Done => break,
                Next::Other(other) => {
                    let words = format!("{other} has become the primary meanwhile, so {} does not", promotion.to);
                    return Err(
                        Failure::error(words).hint(format!("see the set: {}", self.app.command("status", self.names)))
                    );
                }
                Next::Replace(member) => {
                    if let Some(pod) = self.seen.pod(&member).filter(|pod| replaced != pod.metadata.uid) {
                        self.app.ui.say(&format!(
                            "replacing {member}'s pod: its container ended again so soon that Kubernetes would let it wait"
                        ));
                        let members = Members { cluster: self.cluster, namespace: self.names.namespace() };
                        members.delete(pod).await?;
                        replaced = pod.metadata.uid.clone();
                    }
                }
                Next::Promote if told_at.is_none_or(|at| at.elapsed() >= TELL_AGAIN) => {
                    if told_at.is_none() && !self.claim(&mut promotion, known).await? {
                        continue;
                    }
                    told_at = Some(Instant::now());
                    self.tell(&promotion.to).await;
                    continue;
                }
                Next::Promote => {}
                Next::Wait(waiting) => {
                    let (lasting, from) = waits.take().unwrap_or_else(|| (waiting.clone(), Instant::now()));
                    let same = std::mem::discriminant(&lasting) == std::mem::discriminant(&waiting);
                    let from = if same { from } else { Instant::now() };
                    let lasted = SignedDuration::try_from(from.elapsed()).unwrap_or_default();
                    waits = Some((waiting.clone(), from));
                    if promote::gives_up(&waiting, &promotion, lasted) {
                        if matches!(waiting, Waiting::StillPrimary(_)) {
                            return Err(self.stays(&promotion).await);
                        }
                        self.app.ui.warn(&format!("{waiting}: {} becomes the primary again", promotion.from));
                        taken_back = Some(waiting);
                        promotion = match self.take_back(&promotion).await? {
                            Some(back) => back,
                            None => return Err(self.overtaken()),
                        };
                        waits = None;
                    } else if let Some(found) = self.hopeless(&promotion.from) {
                        return Err(self.stuck(&promotion, &found));
                    } else if !remarked && since.elapsed() > UNREMARKABLE {
                        remarked = true;
                        self.app.ui.warn(&format!("{waiting}; waiting"));
                    }
                }
            }
            if self.left() <= SignedDuration::ZERO {
                return Err(self.late(&promotion, waits.map(|(waiting, _)| waiting)));
            }
            sleep(PAUSE).await;
        }
        self.done(&promotion).await?;
        let Some(why) = taken_back else { return self.settle().await };
        self.settle().await?;
        Err(Failure::error(format!("{} was not promoted: {why}; {} is the primary again", began.to, began.from))
            .hint(format!("try again: {}", self.app.command(&format!("promote {}", began.to), self.names))))
    }

    /// Notes that the target is about to be told, unless somebody else has noted anything since.
    async fn claim(&self, promotion: &mut Promotion, known: Known) -> Outcome<bool> {
        let told = Promotion { told: true, ..promotion.clone() };
        let claimed = self.note(&told, known).await?;
        if claimed {
            if let Some(old) = self.seen.server(&promotion.from).filter(|_| promotion.from != promotion.to) {
                let (from, to, lsn) = (&promotion.from, &promotion.to, old.lsn);
                self.app.ui.say(&format!("{from} is back as a replica, and {to} has all that it wrote, up to {lsn}"));
            }
            *promotion = told;
        }
        Ok(claimed)
    }

    /// What PostgreSQL answers is not what counts: who is the primary is asked.
    async fn tell(&self, member: &str) {
        let session = self.asker.sessions().find(|(name, _)| *name == member);
        if let Some((_, session)) = session
            && let Err(error) = session.run(promote::PROMOTE).await
        {
            self.app.ui.detail(&format!("{member} answered: {}", error.message));
        }
    }

    /// From now on the old primary is the one to be promoted. `None` when somebody else has noted something else.
    async fn take_back(&self, promotion: &Promotion) -> Outcome<Option<Promotion>> {
        let (state, version) = state::read_version(self.cluster, self.names).await?;
        if state.promotion.as_ref().is_some_and(|noted| noted.told || noted.to != promotion.to) {
            return Ok(None);
        }
        let back = Promotion { from: promotion.from.clone(), to: promotion.from.clone(), told: false };
        Ok(self.note(&back, Known { state, version }).await?.then_some(back))
    }

    async fn done(&mut self, promotion: &Promotion) -> Outcome {
        let member = promotion.to.clone();
        let timeline = self.seen.server(&member).map_or(0, |server| server.timeline);
        self.app.ui.say(&format!("{member} is the primary, on timeline {timeline}"));
        self.changes.push(format!("promoted {member}"));
        self.lead(&member).await?;
        if let Some(paused) = self.paused {
            let took = u64::try_from(paused.elapsed().as_millis()).unwrap_or(0);
            self.app.ui.say(&format!("writes paused for {}", lapse(took)));
        }
        Ok(())
    }

    /// Leads the Service for writes to this member; whether that was a change.
    async fn lead(&mut self, member: &str) -> Outcome<bool> {
        if self.led_to == member {
            return Ok(false);
        }
        let service = self.names.master_service();
        let members = Members { cluster: self.cluster, namespace: self.names.namespace() };
        members.lead(&service, member).await?;
        self.led_to = member.to_owned();
        let led = format!("Service {service} leads to {member}");
        self.app.ui.say(&led);
        self.changes.push(led);
        Ok(true)
    }

    /// Follows the set until it is healthy, and reports.
    async fn settle(&mut self) -> Outcome {
        let (app, cluster, names) = (self.app, self.cluster, self.names);
        app.when_interrupted(
            "interrupted: the member is the primary, and the others follow by themselves",
            format!("wait for them: {}", app.command("wait", names)),
        );
        let since = Timestamp::now();
        let follower = Follower { app, cluster, names, since, timeout: self.left(), secret: None, unstick: false };
        let followed = &follower.follow().await?;
        let changes = std::mem::take(&mut self.changes);
        finish(Finish { app, cluster, names, followed, command: "promote", output: self.output, changes }).await
    }

    /// Reads the notes, then looks at the set and asks every member that runs.
    async fn look(&mut self) -> Outcome<Known> {
        let (state, version) = state::read_version(self.cluster, self.names).await?;
        let mask = self.seen.mask.clone();
        self.seen = look(self.cluster, self.names.namespace(), self.names.set()).await?;
        self.seen.mask = mask;
        let members = promote::members_to_ask(&self.seen);
        self.asker.ask(members, &mut self.seen).await;
        Ok(Known { state, version })
    }

    /// Notes a switchover; `false` when somebody has noted something else since these notes were read. Its target streams
    /// from the primary, or has all there is: that a scale-down once left its folder behind is over.
    async fn note(&self, promotion: &Promotion, known: Known) -> Outcome<bool> {
        let Known { mut state, version } = known;
        state.retired.remove(&promotion.to);
        state.promotion = Some(promotion.clone());
        Ok(state::write_over(self.cluster, self.names, &state, version.as_deref()).await?)
    }

    /// Takes the note of this switchover away, unless it is another one's by now.
    async fn forget(&self, promotion: &Promotion) -> Outcome {
        let (state, version) = state::read_version(self.cluster, self.names).await?;
        if state.promotion.as_ref() == Some(promotion) {
            let forgotten = State { promotion: None, ..state };
            state::write_over(self.cluster, self.names, &forgotten, version.as_deref()).await?;
        }
        Ok(())
    }

    /// Runs a program in a member. One whose connection is lost may have done its work.
    async fn in_member(&self, member: &str, command: &[&str]) -> Outcome {
        let exec = Exec {
            cluster: self.cluster,
            namespace: self.names.namespace(),
            member,
            command: command.iter().map(ToString::to_string).collect(),
            stdin: false,
            terminal: false,
        };
        let written = exec.output().await?;
        let said = written.stderr.trim();
        match written.ended {
            Ended::Code(0) => Ok(()),
            // Killed with its container, by the shutdown that it asked for.
            Ended::Code(137) | Ended::Lost(_) => {
                self.app.ui.detail(&format!("{member} ended before the script that stops it: {:?}", written.ended));
                Ok(())
            }
            Ended::Code(code @ (2 | 126 | 127)) => {
                Err(Failure::error(format!("failed to make {member} step down: exit code {code}: {said}"))
                    .hint(format!("bring its scripts up to date: {}", self.app.command("up", self.names))))
            }
            Ended::Code(code) => {
                Err(Failure::error(format!("failed to make {member} step down: exit code {code}: {said}")))
            }
        }
    }

    /// The primary did not shut down, or came back as the primary.
    async fn stays(&self, promotion: &Promotion) -> Failure {
        let from = &promotion.from;
        let back = [&STEP_DOWN[..], &["back"]].concat();
        let failure =
            Failure::error(format!("{from} did not step down, and is the primary still; nothing was switched"));
        let undone = async {
            self.in_member(from, &back).await?;
            self.forget(promotion).await
        };
        match undone.await {
            Ok(()) => failure,
            Err(cause) => failure.hint(format!("{:#}", cause.error)).hint(format!(
                "take back what is left of it: {}",
                self.app.command(&format!("promote {from}"), self.names)
            )),
        }
    }

    /// What keeps the old primary from coming back as a replica for good.
    fn hopeless(&self, from: &str) -> Option<Finding> {
        let found = findings::diagnose(&self.seen, Some(self.began));
        found.into_iter().find(|finding| finding.severity == Severity::Fatal && finding.object.name == from)
    }

    fn stuck(&self, promotion: &Promotion, found: &Finding) -> Failure {
        let Promotion { from, to, .. } = promotion;
        let words = format!("{from} stepped down and does not come back: {}; no member is the primary", found.summary);
        let failure = found.fix.iter().fold(Failure::new(Kind::Unhealthy, words), Failure::hint);
        failure.hint(format!("then go on: {}", self.app.command(&format!("promote {to}"), self.names)))
    }

    fn late(&self, promotion: &Promotion, waiting: Option<Waiting>) -> Failure {
        let what =
            waiting.map_or_else(|| format!("{} is not the primary yet", promotion.to), |waiting| waiting.to_string());
        Failure::new(Kind::TimedOut, format!("{what} after {}; no member is the primary", age(self.timeout)))
            .hint(format!("see what is wrong: {}", self.app.command("status", self.names)))
            .hint(format!("go on: {}", self.app.command(&format!("promote {}", promotion.to), self.names)))
    }

    /// Somebody else does something of the kind at the same moment.
    fn overtaken(&self) -> Failure {
        Failure::refused("somebody else has begun or ended a switchover meanwhile, so this one goes no further")
            .hint(format!("see the set: {}", self.app.command("status", self.names)))
    }

    fn left(&self) -> SignedDuration {
        self.timeout.saturating_sub(Timestamp::now().duration_since(self.began))
    }
}
