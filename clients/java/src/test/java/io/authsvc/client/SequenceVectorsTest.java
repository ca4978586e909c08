package io.authsvc.client;

import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

class SequenceVectorsTest {
    /** A verifier's life over each of the shared sequences goes as the server's own code says. */
    @TestFactory
    Stream<DynamicTest> sequences() {
        Vectors vectors = Vectors.read("sequences.json");
        return vectors.cases().map(given -> DynamicTest.dynamicTest((String) given.get("id"), () -> {
            SequenceLife life = new SequenceLife(vectors, given);
            int number = 0;
            for (Object step : Vectors.list(given.get("steps"))) {
                try {
                    life.step(Vectors.object(step));
                } catch (AssertionError e) {
                    throw new AssertionError("at step " + number + ", " + step + ": " + e.getMessage(), e);
                }
                number++;
            }
        }));
    }
}
