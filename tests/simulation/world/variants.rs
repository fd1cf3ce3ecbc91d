//! Worlds that are broken on purpose, each in one place of a contract: the laws must find every one of them.

use super::Law;

/// What is broken. The engine itself stays as it is: it is lied to, or its acts are carried out wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Changes are written whatever state and attempt the row is in.
    NoGuard,
    /// Returned intents are written whatever state and attempt the row is in.
    NoGuardOnReturn,
    /// A commit is answered before it is stored.
    AnswersBeforeStored,
    /// An intent is answered before it is stored.
    IntentStoredLate,
    /// A status URI is stored later than the commit that has it is answered.
    UriStoredLate,
    /// What has been polled is not told at a start.
    ForgetsWaiting,
    /// Rows in which the last daemon died are not told at a start.
    ForgetsInterrupted,
    /// Rows in which the last daemon died are made pending again.
    InterruptedAgain,
    /// The flight record never notes that a firing leaves.
    RecordLies,
    /// The flight record remembers the last firing alone.
    RecordHasOneSlot,
    /// Of a refused commit, the new phases are stored, without what belongs to them.
    HalfABatch,
    /// Nobody is ever told that others have committed.
    LostWakeUp,
    /// Outputs are not stored.
    LosesOutputs,
    /// Ends of attempts are not stored.
    LosesAttempts,
    /// A start makes what is uncertain pending again.
    ReopensUncertain,
    /// Requests past their time are not told.
    NeverLate,
    /// Requests to be cancelled are not told.
    NeverCancelled,
    /// More rows are taken than were wanted.
    TakesMore,
    /// Rows of a paused trigger are taken.
    TakesPaused,
    /// Rows are taken before their time.
    TakesEarly,
    /// Requests that an operator has handed over are not told.
    ForgetsHandovers,
    /// After a commit of unknown end, what is `triggering` is not told.
    HidesTriggering,
    /// An intent stores no deadline.
    NoDeadline,
    /// An intent counts no attempt.
    NoAttempt,
    /// The row of a request that has ended well is deleted.
    Vanishes,
    /// A firing whose end is not known is reported as not sent.
    AmbiguousIsNotSent,
    /// The client repeats a firing that brought no answer.
    RepeatsFiring,
    /// The client follows redirects by itself.
    FollowsRedirects,
    /// An exchange without an answer never ends.
    NoTimeout,
    /// A shut credential lets everything through.
    OpenGate,
    /// Polls keep to no rate.
    NoPollRate,
    /// No breaker ever opens.
    NoBreaker,
    /// Messages name the whole URL.
    TellsSecrets,
    /// A second daemon works on the same table.
    TwoDaemons,
}

impl Variant {
    /// All of them.
    pub(crate) const ALL: [Self; 34] = [
        Self::NoGuard,
        Self::NoGuardOnReturn,
        Self::AnswersBeforeStored,
        Self::IntentStoredLate,
        Self::UriStoredLate,
        Self::ForgetsWaiting,
        Self::ForgetsInterrupted,
        Self::InterruptedAgain,
        Self::RecordLies,
        Self::RecordHasOneSlot,
        Self::HalfABatch,
        Self::LostWakeUp,
        Self::LosesOutputs,
        Self::LosesAttempts,
        Self::ReopensUncertain,
        Self::NeverLate,
        Self::NeverCancelled,
        Self::TakesMore,
        Self::TakesPaused,
        Self::TakesEarly,
        Self::ForgetsHandovers,
        Self::HidesTriggering,
        Self::NoDeadline,
        Self::NoAttempt,
        Self::Vanishes,
        Self::AmbiguousIsNotSent,
        Self::RepeatsFiring,
        Self::FollowsRedirects,
        Self::NoTimeout,
        Self::OpenGate,
        Self::NoPollRate,
        Self::NoBreaker,
        Self::TellsSecrets,
        Self::TwoDaemons,
    ];

    /// The law that must find it.
    pub(crate) const fn law(self) -> Law {
        match self {
            Self::NoGuard => Law::Final,
            Self::IntentStoredLate | Self::RepeatsFiring | Self::RecordLies | Self::RecordHasOneSlot => {
                Law::Intent
            }
            Self::InterruptedAgain | Self::ReopensUncertain | Self::AmbiguousIsNotSent | Self::TwoDaemons => {
                Law::Once
            }
            Self::LosesOutputs => Law::Truth,
            Self::Vanishes => Law::Kept,
            Self::TellsSecrets => Law::Secret,
            Self::TakesMore | Self::OpenGate | Self::NoPollRate | Self::NoBreaker => Law::Limit,
            Self::ForgetsWaiting
            | Self::ForgetsInterrupted
            | Self::LostWakeUp
            | Self::NeverLate
            | Self::NeverCancelled
            | Self::ForgetsHandovers
            | Self::HidesTriggering
            | Self::NoTimeout => Law::Liveness,
            Self::NoGuardOnReturn
            | Self::AnswersBeforeStored
            | Self::UriStoredLate
            | Self::HalfABatch
            | Self::LosesAttempts
            | Self::TakesPaused
            | Self::TakesEarly
            | Self::NoDeadline
            | Self::NoAttempt
            | Self::FollowsRedirects => Law::Machine,
        }
    }
}
