/* The length of a GPS track: {"track": [[latitude, longitude], ...]} in degrees, by the haversine formula. */
#include <math.h>
#include <stdio.h>

static const double earth_radius_km = 6371.0088;

static double radians(double degrees) { return degrees * (3.14159265358979323846 / 180); }

static double distance(const double a[2], const double b[2])
{
    double dlat = sin(radians(b[0] - a[0]) / 2), dlon = sin(radians(b[1] - a[1]) / 2);
    return 2 * earth_radius_km * asin(sqrt(dlat * dlat + cos(radians(a[0])) * cos(radians(b[0])) * dlon * dlon));
}

int main(void)
{
    double last[2], here[2], length = 0;
    char end[2];
    int points = 0;

    scanf("%*[^[][");
    while (scanf(" [ %lf , %lf ]", &here[0], &here[1]) == 2) {
        if (points++)
            length += distance(last, here);
        last[0] = here[0];
        last[1] = here[1];
        scanf(" ,");
    }
    if (points < 2 || scanf(" ] %1[,}]", end) != 1) {
        fputs("a track is two or more points, each [latitude, longitude]\n", stderr);
        return 1;
    }
    printf("{\"points\": %d, \"kilometres\": %.3f}\n", points, length);
    return 0;
}
