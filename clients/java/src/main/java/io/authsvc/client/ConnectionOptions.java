package io.authsvc.client;

import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannelBuilder;
import java.util.Objects;
import java.util.function.Consumer;

/**
 * How to reach the server; the options that {@link Verifier} and {@link AuthClient} share.
 *
 * @param <B> the builder itself
 */
public abstract sealed class ConnectionOptions<B extends ConnectionOptions<B>> permits Verifier.Builder, AuthClient.Builder {
    private final String target;
    private final Channel channel;
    private ChannelCredentials credentials;
    private Consumer<ManagedChannelBuilder<?>> more = builder -> { };
    Hooks hooks = Hooks.NONE;

    ConnectionOptions(String target, Channel channel) {
        this.target = target;
        this.channel = channel;
    }

    abstract B self();

    /**
     * Sets how the connection is secured. By default it is TLS with the platform's roots, and plaintext for targets that never
     * leave the machine (loopback addresses, localhost, unix sockets).
     */
    public B credentials(ChannelCredentials secured) {
        credentials = Objects.requireNonNull(secured);
        return self();
    }

    /**
     * Speaks plaintext whatever the target: where a proxy beside this process secures what leaves the host. Tokens and their
     * verdicts travel on this connection.
     */
    public B plaintext() {
        return credentials(InsecureChannelCredentials.create());
    }

    /** Changes the channel that is made, after this library's own options: interceptors with a credential, for one. */
    public B configure(Consumer<ManagedChannelBuilder<?>> change) {
        more = Objects.requireNonNull(change);
        return self();
    }

    /** Sets what is told for metrics. */
    public B hooks(Hooks told) {
        hooks = Objects.requireNonNull(told);
        return self();
    }

    Connection connect() {
        return channel != null ? Connection.over(channel) : Connection.to(target, credentials, more);
    }
}
