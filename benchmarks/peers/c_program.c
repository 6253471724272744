/* Full-batch gradient descent of networks with one hidden layer of sigmoid units and sigmoid
 * outputs on half the squared error. It trains L runs together, with the operations and the order
 * of operations of bpexp's exact arithmetic, so that the results are bit-identical. All sizes are
 * constants (-DS= rows, -DF= inputs, -DH= hidden units, -DO= outputs, -DL= runs), so that the
 * compiler can unroll and vectorize; -ffp-contract=off forbids fused multiply-add. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline double from_bits(int64_t bits) { double x; memcpy(&x, &bits, 8); return x; }
static inline int64_t to_bits(double x) { int64_t bits; memcpy(&bits, &x, 8); return bits; }

/* 1 / (1 + e^-z) for |z| <= 700; see bpexp/nn/elementary.py for the formula. */
static inline double sigmoid(double z) {
    double shifted = z * -1.4426950408889634 + 6755399441055744.0;
    double n = shifted - 6755399441055744.0;
    double r = (z + n * 0x1.62e42fee00000p-1) + n * 0x1.a39ef35793c76p-33, square = r * r;
    double even = 0x1.20d163ff16b78p-29 * square + 0x1.27e40bf330d54p-22;
    even = even * square + 0x1.a01a01fc80ec0p-16;
    even = even * square + 0x1.6c16c16c07eb9p-10;
    even = even * square + 0x1.555555555556fp-5;
    even = even * square + 0.5;
    double odd = 0x1.af7a37519fdf6p-26 * square + 0x1.71dde7b1ba377p-19;
    odd = odd * square + 0x1.a01a01b6f4bacp-13;
    odd = odd * square + 0x1.111111110e335p-7;
    odd = odd * square + 0x1.555555555555dp-3;
    double y = 1.0 + (square * (even - r * odd) - r);
    return 1.0 / (1.0 + from_bits((int64_t)((uint64_t)to_bits(y) + ((uint64_t)to_bits(shifted) << 52))));
}

#define EACH for (int k = 0; k < L; k++)

/* w holds W1[F * H], W2[H * O], b1[H] and b2[O] one after the other, each a row of L runs. */
void train(double (*restrict w)[L], const double (*restrict X)[F], const double (*restrict Y)[O],
           const double *restrict lr, double *restrict losses, int epochs) {
    static double A[H][S][L], B[O][S][L], D[O][S][L], E[H][S][L], row[L], total[L];
    static double next[F * H + H * O + H + O][L];
    double (*W1)[L] = w, (*W2)[L] = w + F * H, (*b1)[L] = W2 + H * O, (*b2)[L] = b1 + H;
    double (*N1)[L] = next, (*N2)[L] = next + F * H, (*n1)[L] = N2 + H * O, (*n2)[L] = n1 + H;
    for (int epoch = 0; epoch < epochs; epoch++) {
        for (int j = 0; j < H; j++)
            for (int s = 0; s < S; s++)
                EACH {
                    double z = X[s][0] * W1[j][k];
                    for (int i = 1; i < F; i++) z += X[s][i] * W1[i * H + j][k];
                    A[j][s][k] = sigmoid(z + b1[j][k]);
                }
        for (int j = 0; j < O; j++)
            for (int s = 0; s < S; s++)
                EACH {
                    double z = A[0][s][k] * W2[j][k];
                    for (int i = 1; i < H; i++) z += A[i][s][k] * W2[i * O + j][k];
                    B[j][s][k] = sigmoid(z + b2[j][k]);
                }
        for (int s = 0; s < S; s++) {
            for (int j = 0; j < O; j++)
                EACH {
                    double a = B[j][s][k], e = a - Y[s][j];
                    row[k] = j ? row[k] + e * e : e * e;
                    D[j][s][k] = e * (a * (1.0 - a));
                }
            EACH total[k] = s ? total[k] + 0.5 * row[k] : 0.5 * row[k];
        }
        EACH losses[(size_t)epoch * L + k] = 2.0 * total[k] / (S * O);
        for (int j = 0; j < O; j++) {
            for (int m = 0; m < H; m++)
                EACH {
                    double d = A[m][0][k] * D[j][0][k];
                    for (int s = 1; s < S; s++) d += A[m][s][k] * D[j][s][k];
                    N2[m * O + j][k] = W2[m * O + j][k] - lr[k] * d;
                }
            EACH {
                double d = D[j][0][k];
                for (int s = 1; s < S; s++) d += D[j][s][k];
                n2[j][k] = b2[j][k] - lr[k] * d;
            }
        }
        for (int m = 0; m < H; m++) {
            for (int s = 0; s < S; s++)
                EACH {
                    double d = D[0][s][k] * W2[m * O][k], a = A[m][s][k];
                    for (int j = 1; j < O; j++) d += D[j][s][k] * W2[m * O + j][k];
                    E[m][s][k] = d * (a * (1.0 - a));
                }
            for (int i = 0; i < F; i++)
                EACH {
                    double d = X[0][i] * E[m][0][k];
                    for (int s = 1; s < S; s++) d += X[s][i] * E[m][s][k];
                    N1[i * H + m][k] = W1[i * H + m][k] - lr[k] * d;
                }
            EACH {
                double d = E[m][0][k];
                for (int s = 1; s < S; s++) d += E[m][s][k];
                n1[m][k] = b1[m][k] - lr[k] * d;
            }
        }
        memcpy(w, next, sizeof next);
    }
}
