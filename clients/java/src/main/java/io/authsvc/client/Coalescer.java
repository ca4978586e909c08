package io.authsvc.client;

import com.google.common.util.concurrent.FutureCallback;
import com.google.common.util.concurrent.Futures;
import com.google.common.util.concurrent.ListenableFuture;
import com.google.common.util.concurrent.MoreExecutors;
import io.authsvc.authapi.v1.AuthServiceGrpc.AuthServiceFutureStub;
import io.authsvc.authapi.v1.BatchVerifyTokensRequest;
import io.authsvc.authapi.v1.VerifyTokenRequest;
import io.authsvc.authapi.v1.VerifyTokenResponse;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.StatusException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/**
 * Asks the server about tokens. Questions that come while calls are under way go together into the next one, equal ones once.
 */
final class Coalescer {
    // The contract's bound of a batch, and one of ours, well below what a server reads in one message.
    private static final int BATCH_TOKENS = 1000;
    private static final int BATCH_BYTES = 1 << 20;
    // How many calls are on their way at once, and how many questions wait for the next.
    private static final int CALLS_AT_ONCE = 2;
    private static final int QUESTIONS_WAITING = 20_000;
    // How long one call may take.
    private static final long ASK_SECONDS = 5;

    private record Question(VerifyTokenRequest request, CompletableFuture<VerifyTokenResponse> answer) {}

    private final AuthServiceFutureStub stub;
    private final Hooks hooks;
    private final Deque<Question> waiting = new ArrayDeque<>();
    private int running;

    Coalescer(AuthServiceFutureStub stub, Hooks hooks) {
        this.stub = stub;
        this.hooks = hooks;
    }

    /** Returns the server's answer, or fails with a gRPC status. */
    CompletableFuture<VerifyTokenResponse> ask(VerifyTokenRequest request) {
        // A cursor makes the server wait, or fail the whole batch.
        if (!request.getAtLeast().getValue().isEmpty()) {
            return call(() -> bounded().verifyToken(request));
        }
        Question question = new Question(request, new CompletableFuture<>());
        List<Question> batch;
        synchronized (this) {
            if (waiting.size() >= QUESTIONS_WAITING) {
                return CompletableFuture.failedFuture(unavailable("too many questions are waiting for the server"));
            }
            waiting.addLast(question);
            if (running >= CALLS_AT_ONCE) {
                return question.answer;
            }
            running++;
            batch = take();
        }
        send(batch);
        return question.answer;
    }

    /** Takes the next batch; with none, this call is over. */
    private synchronized List<Question> take() {
        List<Question> batch = new ArrayList<>();
        int bytes = 0;
        while (!waiting.isEmpty() && batch.size() < BATCH_TOKENS) {
            bytes += waiting.peekFirst().request.getSerializedSize();
            if (!batch.isEmpty() && bytes > BATCH_BYTES) {
                break;
            }
            batch.add(waiting.removeFirst());
        }
        if (batch.isEmpty()) {
            running--;
        }
        return batch;
    }

    private void send(List<Question> batch) {
        if (batch.isEmpty()) {
            return;
        }
        Map<VerifyTokenRequest, List<Question>> distinct = new LinkedHashMap<>();
        for (Question question : batch) {
            distinct.computeIfAbsent(question.request, request -> new ArrayList<>(1)).add(question);
        }
        CompletableFuture<?> over = distinct.size() == 1 ? single(batch) : together(distinct);
        // Never deeper than one call: an answer may come on the thread that asked.
        over.whenCompleteAsync((done, failure) -> send(take()));
    }

    private CompletableFuture<?> single(List<Question> same) {
        return call(() -> bounded().verifyToken(same.get(0).request)).handle((response, failure) -> {
            hooks.asked(1, failure == null);
            same.forEach(question -> complete(question, response, failure));
            return null;
        });
    }

    private CompletableFuture<?> together(Map<VerifyTokenRequest, List<Question>> distinct) {
        var request = BatchVerifyTokensRequest.newBuilder().addAllRequests(distinct.keySet()).build();
        return call(() -> bounded().batchVerifyTokens(request)).handle((response, failure) -> {
            hooks.asked(distinct.size(), failure == null);
            if (failure != null && Status.fromThrowable(failure).getCode() == Status.Code.INVALID_ARGUMENT) {
                // One bad question fails them all; each gets the answer it deserves.
                distinct.values().forEach(this::single);
                return null;
            }
            Throwable why = failure;
            if (failure == null && response.getResponsesCount() != distinct.size()) {
                why = unavailable("the server's answers do not fit the questions");
            }
            int at = 0;
            for (List<Question> same : distinct.values()) {
                VerifyTokenResponse answer = why == null ? response.getResponses(at) : null;
                for (Question question : same) {
                    complete(question, answer, why);
                }
                at++;
            }
            return null;
        });
    }

    private static void complete(Question question, VerifyTokenResponse response, Throwable failure) {
        if (failure == null) {
            question.answer.complete(response);
        } else {
            question.answer.completeExceptionally(failure);
        }
    }

    private static StatusException unavailable(String text) {
        return Status.UNAVAILABLE.withDescription(text).asException();
    }

    private AuthServiceFutureStub bounded() {
        return stub.withDeadlineAfter(ASK_SECONDS, TimeUnit.SECONDS);
    }

    /** Makes a call that belongs to everybody who waits for it: whoever caused it may go away, or be in a hurry. */
    static <T> CompletableFuture<T> call(Supplier<ListenableFuture<T>> call) {
        CompletableFuture<T> result = new CompletableFuture<>();
        Context.ROOT.run(() -> Futures.addCallback(
                call.get(),
                new FutureCallback<T>() {
                    @Override
                    public void onSuccess(T value) {
                        result.complete(value);
                    }

                    @Override
                    public void onFailure(Throwable failure) {
                        result.completeExceptionally(failure);
                    }
                },
                MoreExecutors.directExecutor()));
        return result;
    }
}
