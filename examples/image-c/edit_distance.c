/* How many characters must be added, removed or replaced to make one word of the other: {"from": "...", "to": "..."}. */
#include <stdio.h>
#include <string.h>

#define LONGEST 255

static int least(int a, int b, int c)
{
    int ab = a < b ? a : b;
    return ab < c ? ab : c;
}

static int distance(const char *from, const char *to)
{
    int row[LONGEST + 1], length = strlen(to);

    for (int j = 0; j <= length; j++)
        row[j] = j;
    for (int i = 1; from[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= length; j++) {
            int above = row[j];
            row[j] = least(above + 1, row[j - 1] + 1, diagonal + (from[i - 1] != to[j - 1]));
            diagonal = above;
        }
    }
    return row[length];
}

int main(void)
{
    char from[LONGEST + 1], to[LONGEST + 1];

    if (scanf(" { \"from\" : \"%255[a-z]\" , \"to\" : \"%255[a-z]\"", from, to) != 2) {
        fputs("the query is {\"from\": WORD, \"to\": WORD}, each of up to 255 letters from a to z\n", stderr);
        return 1;
    }
    printf("{\"distance\": %d}\n", distance(from, to));
    return 0;
}
