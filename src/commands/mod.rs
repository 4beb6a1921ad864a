//! One file a verb: its arguments in, `run` out. They may use everything; only `main` uses them.

mod app;
mod ask;
mod base;
mod bundle;
mod completions;
mod diff;
mod doctor;
mod down;
mod explain;
mod follow;
mod foreign;
mod gone;
mod home;
mod learn;
mod man;
mod passwords;
mod promote;
pub mod render;
mod restart;
mod result;
mod scale;
pub mod settings;
mod state;
mod status;
mod stop;
mod unstick;
mod up;
mod wait;

mod dsn;
mod forward;
mod list;
mod logs;
mod port_forward;
mod psql;
mod verify;

use app::App;

use crate::cli::{Cli, Command};
use crate::error::{Failure, Outcome};

pub use completions::answer as complete;

/// Runs one command; returns the process's exit code.
#[must_use]
pub fn run(cli: Cli) -> u8 {
    let json = cli.command.wants_json();
    let app = App::new(cli.common, json);
    // One thread: pgset waits far more than it works, and starts sooner without others.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(async {
            tokio::select! {
                outcome = dispatch(&app, cli.command) => outcome,
                () = interrupted(&app) => Err(app.interrupted()),
            }
        }),
        Err(error) => Err(Failure::error(format!("failed to start: {error}"))),
    };
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            let code = failure.kind.code();
            app.ui.failure(failure);
            code
        }
    }
}

async fn dispatch(app: &App, command: Command) -> Outcome {
    match command {
        Command::Up(args) => Box::pin(up::run(app, args)).await,
        Command::Status(args) => status::run(app, args).await,
        Command::Scale(args) => scale::run(app, args).await,
        Command::Diff(args) => Box::pin(diff::run(app, args)).await,
        Command::Down(args) => Box::pin(down::run(app, args)).await,
        Command::Restart(args) => restart::run(app, args).await,
        Command::Promote(args) => Box::pin(promote::run(app, args)).await,
        Command::Stop(args) => stop::stop(app, args).await,
        Command::Start(args) => stop::start(app, args).await,
        Command::Render(args) => render::run(app, &args),
        Command::Wait(args) => wait::run(app, args).await,
        Command::Settings(args) => settings::run(app, &args),
        // Boxed, so that every other command does not carry its size around.
        Command::Doctor(args) => Box::pin(doctor::run(app, args)).await,
        Command::Explain(args) => explain::run(app, &args),
        Command::Completions(args) => completions::run(app, &args),
        Command::Man(args) => man::run(app, &args),

        Command::List(args) => list::run(app, args).await,
        Command::Dsn(args) => dsn::run(app, args).await,
        Command::Psql(args) => psql::run(app, args).await,
        Command::Logs(args) => logs::run(app, args).await,
        Command::Verify(args) => verify::run(app, args).await,
        Command::PortForward(args) => port_forward::run(app, args).await,
    }
}

/// Ends when the person interrupts (Ctrl-C) or somebody asks the process to end.
async fn interrupted(app: &App) {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else { return std::future::pending().await };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {
                if app.heeds_interrupts() && !app.cleans_up() {
                    return;
                }
            }
            _ = terminate.recv() => {
                if !app.cleans_up() {
                    return;
                }
            }
        }
    }
}
