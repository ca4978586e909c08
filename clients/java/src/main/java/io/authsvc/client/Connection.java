package io.authsvc.client;

import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ConnectivityState;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;

/** A way to the server: a channel as the contract wants it, or one of the caller's. */
final class Connection {
    // grpc-java's back-off begins at 1 s and ends at 2 min, and is no option. Cut short every second or so while no address
    // can be reached, it finds a server that came back within that.
    private static final long RECONNECT_NANOS = TimeUnit.SECONDS.toNanos(1);

    private final Channel channel;
    private final ManagedChannel owned; // null where it is the caller's

    private Connection(Channel channel, ManagedChannel owned) {
        this.channel = channel;
        this.owned = owned;
    }

    Channel channel() {
        return channel;
    }

    void close() {
        if (owned != null) {
            owned.shutdownNow();
        }
    }

    /** Uses a channel of the caller's, who closes it. */
    static Connection over(Channel channel) {
        return new Connection(channel, null);
    }

    /** Makes a channel; it connects with its first call. Null credentials: TLS, or plaintext where nothing leaves the host. */
    static Connection to(String target, ChannelCredentials credentials, Consumer<ManagedChannelBuilder<?>> more) {
        ChannelCredentials used = credentials;
        if (used == null) {
            used = isLocal(target) ? InsecureChannelCredentials.create() : TlsChannelCredentials.create();
        }
        ManagedChannelBuilder<?> builder = Grpc.newChannelBuilder(target, used)
                .defaultServiceConfig(parse(serviceConfig()))
                .disableServiceConfigLookUp()
                .enableRetry()
                .keepAliveTime(30, TimeUnit.SECONDS)
                .keepAliveTimeout(10, TimeUnit.SECONDS);
        more.accept(builder);
        ManagedChannel channel = builder.build();
        watch(channel, new AtomicBoolean());
        return new Connection(channel, channel);
    }

    private static void watch(ManagedChannel channel, AtomicBoolean hurries) {
        ConnectivityState state = channel.getState(false);
        if (state == ConnectivityState.SHUTDOWN) {
            return;
        }
        if (state == ConnectivityState.TRANSIENT_FAILURE && hurries.compareAndSet(false, true)) {
            hurry(channel, hurries);
        }
        channel.notifyWhenStateChanged(state, () -> watch(channel, hurries));
    }

    private static void hurry(ManagedChannel channel, AtomicBoolean hurries) {
        double share = 0.5 + 0.5 * ThreadLocalRandom.current().nextDouble();
        VerifierClock.system().after(Duration.ofNanos((long) (RECONNECT_NANOS * share)), () -> {
            if (channel.getState(false) == ConnectivityState.TRANSIENT_FAILURE) {
                channel.resetConnectBackoff();
                hurry(channel, hurries); // round_robin stays in this state until it is connected
            } else {
                hurries.set(false);
            }
        });
    }

    /** Tells whether what is sent to a target cannot leave this machine. */
    static boolean isLocal(String target) {
        if (target.startsWith("unix:") || target.startsWith("unix-abstract:")) {
            return true;
        }
        String address = target.startsWith("dns:") ? target.substring(target.lastIndexOf('/') + 1) : target;
        address = address.startsWith("dns:") ? address.substring(4) : address;
        if (address.startsWith("[::1]") || address.equals("::1")) {
            return true;
        }
        int colon = address.lastIndexOf(':');
        String host = colon < 0 ? address : address.substring(0, colon);
        // Four numbers, and no name that only begins like them.
        return host.equals("localhost") || host.matches("127(\\.(25[0-5]|2[0-4]\\d|1?\\d?\\d)){3}");
    }

    static String serviceConfig() {
        try (InputStream resource = Connection.class.getResourceAsStream("service_config.json")) {
            return new String(resource.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Returns a service config as grpc-java wants it: maps, lists, strings, booleans and doubles. */
    @SuppressWarnings("unchecked")
    static Map<String, ?> parse(String serviceConfig) {
        try {
            return (Map<String, ?>) withDoubles(Json.object(serviceConfig));
        } catch (Json.Malformed e) {
            throw new IllegalArgumentException("the service config is not JSON", e);
        }
    }

    private static Object withDoubles(Object value) {
        if (value instanceof Json.Whole whole) {
            return Double.valueOf(whole.digits());
        } else if (value instanceof List<?> items) {
            List<Object> list = new ArrayList<>();
            items.forEach(item -> list.add(withDoubles(item)));
            return list;
        } else if (value instanceof Map<?, ?> members) {
            Map<String, Object> map = new LinkedHashMap<>();
            members.forEach((name, member) -> map.put((String) name, withDoubles(member)));
            return map;
        }
        return value;
    }
}
