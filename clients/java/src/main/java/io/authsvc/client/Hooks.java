package io.authsvc.client;

import io.grpc.Status;

/**
 * Called where metrics are counted; override what you want to measure. None may block or throw, and they may be called at the
 * same time. Nothing handed over holds a token's text. Later releases may add more.
 */
public interface Hooks {
    /** Does nothing. */
    Hooks NONE = new Hooks() {};

    /** A token was judged. */
    default void verdict(Verdict verdict) {}

    /** A token could not be judged. */
    default void cannotKnow(CannotKnow.Why why) {}

    /** The keys were asked for; not ok keeps the last good ones. */
    default void keysRead(boolean ok) {}

    /** A stream of revocations is opened; not resumed, it starts with a snapshot. */
    default void streamOpened(boolean resumed) {}

    /** A stream is over. OK is an end in peace, after GoAway for one. */
    default void streamEnded(Status.Code code) {}

    /** The server was asked about so many tokens in one call. */
    default void asked(int tokens, boolean ok) {}
}
